#include "tests/chaos/footprint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace nabla::chaos {

namespace {

Footprint mean_of(const std::vector<Footprint>& samples, std::size_t begin, std::size_t end) {
  Footprint sum;
  for (std::size_t i = begin; i < end; ++i) {
    sum.resident_bytes += samples[i].resident_bytes;
    sum.descriptors += samples[i].descriptors;
  }
  const auto count = static_cast<std::int64_t>(end > begin ? end - begin : 1);
  return {sum.resident_bytes / count, sum.descriptors / count};
}

}  // namespace

Footprint footprint_of(pid_t pid) {
  const std::string process = fmt::format("/proc/{}", pid);
  Footprint footprint;
  std::int64_t total_pages = 0;
  std::ifstream(process + "/statm") >> total_pages >> footprint.resident_bytes;
  footprint.resident_bytes *= ::sysconf(_SC_PAGESIZE);
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(process + "/fd", code))
    footprint.descriptors += entry.path().empty() ? 0 : 1;
  return footprint;
}

Growth growth_of(const std::vector<Footprint>& samples) {
  const std::size_t sixth = samples.size() / 6;
  return {mean_of(samples, sixth, 2 * sixth), mean_of(samples, 5 * sixth, samples.size())};
}

std::string find_growth(const Growth& growth) {
  constexpr double kShare = 0.05, kMib = 0x1p20, kBytes = 2 * kMib;
  constexpr std::int64_t kDescriptors = 4;
  const auto early = static_cast<double>(growth.early.resident_bytes), late = static_cast<double>(growth.late.resident_bytes);
  if (late > early * (1 + kShare) + kBytes) return fmt::format("memory grew from {:.1f} to {:.1f} MiB", early / kMib, late / kMib);
  if (std::abs(growth.late.descriptors - growth.early.descriptors) > kDescriptors)
    return fmt::format("descriptors went from {} to {}", growth.early.descriptors, growth.late.descriptors);
  return "";
}

}  // namespace nabla::chaos
