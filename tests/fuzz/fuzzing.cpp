#include "tests/fuzz/fuzzing.h"

#include "common/error.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>

namespace {

// The largest single allocation since it was set to 0.
std::atomic<std::size_t> largest_allocation{0};

}  // namespace

void* operator new(std::size_t size) {
  if (size > largest_allocation) largest_allocation = size;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace nabla {

namespace {

constexpr std::size_t kMaxInput = std::size_t{1} << 20;

// Inputs end where a page begins that must not be touched: a read of one byte too many ends the program, in every build.
class GuardedInput {
 public:
  GuardedInput() : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    void* memory = ::mmap(nullptr, kMaxInput + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<std::byte*>(memory);
    ::mprotect(memory_ + kMaxInput, page_, PROT_NONE);
  }
  ~GuardedInput() { ::munmap(memory_, kMaxInput + page_); }
  GuardedInput(const GuardedInput&) = delete;
  GuardedInput& operator=(const GuardedInput&) = delete;

  std::span<const std::byte> hold(const std::string& input) {
    const std::size_t size = std::min(input.size(), kMaxInput);
    std::byte* start = memory_ + kMaxInput - size;
    std::memcpy(start, input.data(), size);
    return {start, size};
  }

 private:
  std::size_t page_;
  std::byte* memory_;
};

void mutate_once(std::string& input, FuzzRandom& random) {
  if (input.empty()) input.push_back('\0');
  const std::size_t at = random.below(input.size());
  switch (random.below(7)) {
    case 0:
      input[at] = static_cast<char>(random.next());
      break;
    case 1:
      input[at] = static_cast<char>(input[at] ^ (1 << random.below(8)));
      break;
    case 2: {  // counts and sizes that lie
      constexpr unsigned char kLies[] = {0x00, 0x01, 0x7F, 0x80, 0xC1, 0xDD, 0xDF, 0xFE, 0xFF};
      for (std::size_t i = at; i < std::min(at + 1 + random.below(8), input.size()); ++i)
        input[i] = static_cast<char>(kLies[random.below(9)]);
      break;
    }
    case 3: {
      const std::size_t size = std::min<std::size_t>(1 + random.below(64), input.size() - at);
      const std::string piece = input.substr(at, size);
      input.insert(random.below(input.size()), piece);
      break;
    }
    case 4:
      input.erase(at, 1 + random.below(16));
      break;
    case 5:
      input.insert(at, 1 + random.below(16), static_cast<char>(random.next()));
      break;
    default:
      if (random.below(8) == 0) input.erase(random.below(input.size()));
  }
}

std::string make_input(const FuzzTarget& target, FuzzRandom& random) {
  std::string input = target.seeds[random.below(target.seeds.size())];
  for (std::uint64_t i = 0, count = 1 + random.below(4); i < count; ++i) mutate_once(input, random);
  if (input.size() > kMaxInput) input.erase(kMaxInput);
  if (target.mend && random.below(2) == 0) target.mend(input, random);
  return input;
}

struct Tally {
  std::uint64_t accepted = 0, refused = 0;
};

// What is wrong with the parser's answer to this input; nothing: all is well.
std::optional<std::string> find_fault(const FuzzTarget& target, std::span<const std::byte> input, Tally& tally) {
  largest_allocation = 0;
  try {
    ++(target.parse(input) == FuzzOutcome::kAccepted ? tally.accepted : tally.refused);
  } catch (const Error& error) {
    if (static_cast<int>(error.code()) != target.refusal)
      return fmt::format("error of exit code {}: {}", static_cast<int>(error.code()), error.what());
    ++tally.refused;
  } catch (const std::exception& error) {
    return fmt::format("exception: {}", error.what());
  }
  const std::size_t allowed = input.size() * target.bytes_a_byte + 64 * 1024;
  if (largest_allocation > allowed)
    return fmt::format("an allocation of {} bytes for an input of {}", largest_allocation.load(), input.size());
  return std::nullopt;
}

bool fuzz(const FuzzTarget& target, std::uint64_t count, std::uint64_t seed) {
  GuardedInput guarded;
  Tally tally;
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& good : target.seeds) {
    if (const auto fault = find_fault(target, guarded.hold(good), tally); fault || tally.refused > 0) {
      std::fprintf(stderr, "%s: a seed is not accepted: %s\n", target.name.c_str(), fault.value_or("refused").c_str());
      return false;
    }
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    FuzzRandom random(seed + i);
    const std::string input = make_input(target, random);
    const auto fault = find_fault(target, guarded.hold(input), tally);
    if (!fault) continue;
    const std::string file = fmt::format("fuzz-{}-{}.bin", target.name, seed + i);
    std::ofstream(file, std::ios::binary) << input;
    std::fprintf(stderr, "%s: %s; the input is in %s (again: --seed %llu --count 1 %s)\n", target.name.c_str(), fault->c_str(),
                 file.c_str(), static_cast<unsigned long long>(seed + i), target.name.c_str());
    return false;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("{\"parser\": \"%s\", \"runs\": %llu, \"accepted\": %llu, \"refused\": %llu, \"findings\": 0, \"seconds\": %.2f}\n",
              target.name.c_str(), static_cast<unsigned long long>(count), static_cast<unsigned long long>(tally.accepted),
              static_cast<unsigned long long>(tally.refused), seconds);
  std::fflush(stdout);
  return true;
}

}  // namespace

// splitmix64
std::uint64_t FuzzRandom::next() {
  std::uint64_t value = state_ += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

int fuzz_main(int argc, char** argv, const std::vector<FuzzTarget>& targets) {
  std::uint64_t count = 100'000, seed = 1;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if ((word == "--count" || word == "--seed") && i + 1 < argc) {
      (word == "--count" ? count : seed) = std::strtoull(argv[++i], nullptr, 10);
    } else {
      names.push_back(word);
    }
  }
  std::size_t done = 0;
  for (const FuzzTarget& target : targets) {
    if (!names.empty() && std::ranges::count(names, target.name) == 0) continue;
    if (!fuzz(target, count, seed)) return 1;
    ++done;
  }
  if (done > 0 && (names.empty() || done == names.size())) return 0;
  std::fprintf(stderr, "usage: %s [--count N] [--seed S] [NAME...]; names:", argv[0]);
  for (const FuzzTarget& target : targets) std::fprintf(stderr, " %s", target.name.c_str());
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace nabla
