#include "common/files.h"
#include "common/philox.h"
#include "common/torch_file.h"
#include "tests/common/error_check.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr int kMutations = 100'000;

// A few bytes changed, a piece copied over another one, or the end cut off: places in the last kilobytes, where the tables are, are hit more often.
std::string mutated(std::string content, Philox stream) {
  const auto below = [&stream](std::uint64_t bound) { return std::uint64_t{stream.below(static_cast<std::uint32_t>(bound))}; };
  const auto place = [&] {
    const std::uint64_t tail = std::min<std::uint64_t>(content.size(), 1024);
    return below(2) == 0 ? below(content.size()) : content.size() - 1 - below(tail);
  };
  for (std::uint64_t i = 0, count = 1 + below(4); i < count; ++i) {
    switch (below(5)) {
      case 0:
        content[place()] = static_cast<char>(below(256));
        break;
      case 1:
        content[place()] ^= static_cast<char>(1 << below(8));
        break;
      case 2:
        content[place()] = static_cast<char>(below(2) == 0 ? 0xFF : 0);
        break;
      case 3: {
        const std::uint64_t from = place(), to = place();
        const std::uint64_t size = std::min({1 + below(64), content.size() - from, content.size() - to});
        content.replace(to, size, content.substr(from, size));
        break;
      }
      default:
        if (below(8) == 0) content.resize(1 + below(content.size()));
    }
  }
  return content;
}

// Whether every tensor that was accepted lies within the content and has the bytes that its shape, which has no negative dimension, asks for.
bool lies_inside(const TorchFile& file, std::span<const std::byte> content) {
  return std::ranges::all_of(file.tensors(), [&](const auto& item) {
    const TorchTensor& tensor = item.second;
    if (std::ranges::any_of(tensor.shape, [](std::int64_t size) { return size < 0; })) return false;
    std::uint64_t last = 0, count = 1;
    for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
      count *= static_cast<std::uint64_t>(tensor.shape[d]);
      last += (static_cast<std::uint64_t>(tensor.shape[d]) - 1) * static_cast<std::uint64_t>(tensor.strides[d]);
    }
    const bool within =
        tensor.bytes.data() >= content.data() && tensor.bytes.data() + tensor.bytes.size() <= content.data() + content.size();
    return count == 0 ||
           (within && (last + 1) * byte_size(tensor.dtype) == tensor.bytes.size() && count * byte_size(tensor.dtype) <= content.size());
  });
}

}  // namespace

TEST_CASE("whatever happens to a file of torch.save, it is read within its bounds or refused as data") {
  std::vector<std::string> originals;
  for (const char* name : {"dtypes.pt", "views.pth", "module.bin"})
    originals.push_back(read_file(std::string(NABLA_PARITY_DATA) + "/torch_files/" + name, 1 << 20));
  int refused = 0;
  for (int i = 0; i < kMutations; ++i) {
    const Philox stream(1, RandomPurpose::kRender, static_cast<std::uint64_t>(i));
    const std::string content = mutated(originals[static_cast<std::size_t>(i) % originals.size()], stream);
    const auto bytes = std::as_bytes(std::span(content));
    try {
      if (!lies_inside(TorchFile::parse(bytes, "mutated.pt"), bytes)) FAIL("mutation ", i, " reads outside of the file");
    } catch (const Error& error) {
      ++refused;
      if (error.code() != ExitCode::kData) FAIL("mutation ", i, ": ", error.what());
    }
  }
  // Most hits are in values or in padding; a good part damages the structure.
  CHECK(refused > kMutations / 10);
  CHECK(refused < kMutations);
}

}  // namespace nabla
