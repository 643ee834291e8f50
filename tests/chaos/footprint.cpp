#include "tests/chaos/footprint.h"

#include <fmt/format.h>
#include <unistd.h>

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
  const std::size_t quarter = samples.size() / 4;
  return {mean_of(samples, quarter, 2 * quarter), mean_of(samples, 3 * quarter, samples.size())};
}

}  // namespace nabla::chaos
