#include "tests/chaos/evidence.h"

#include <fmt/format.h>

#include <fstream>
#include <utility>

namespace nabla::chaos {

namespace {

using Phrases = std::vector<std::pair<std::string, std::string>>;  // in a line, and what it is counted as

const Phrases kOfLearner{{"refused a record of", "refused"},
                         {"not heard of for", "silent_ends"},
                         {"is discarded:", "discarded"},
                         {"has said hello", "hellos"},
                         {"[failpoint] reached", "failpoints_met"}};
const Phrases kOfActors{{"speaks protocol version", "refused_hellos"}, {"[failpoint] reached", "failpoints_met"}};
const Phrases kOfShims{{"disk fault", "disk_faults"}, {"clock read", "clock_reads"}};
const Phrases kOfAcks{{" ", "acked"}, {" duplicate ", "duplicates"}};

}  // namespace

std::string lacking(const Counts& must, const Counts& happened) {
  std::string text;
  for (const auto& [name, count] : must) {
    const auto found = happened.find(name);
    const std::int64_t have = found == happened.end() ? 0 : found->second;
    if (have < count) text += fmt::format("{}{}: {} of {}", text.empty() ? "" : ", ", name, have, count);
  }
  return text;
}

Evidence::Evidence(const std::string& run_dir) : run_dir_(run_dir) {}

const Counts& Evidence::look() {
  look_into(run_dir_ / "learner.txt", kOfLearner);
  look_into(run_dir_ / "actors.txt", kOfActors);
  look_into(run_dir_ / "shims.txt", kOfShims);
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir_ / "acks", code)) look_into(entry.path(), kOfAcks);
  return counts_;
}

// A line that is still being written is left for the next time.
void Evidence::look_into(const std::filesystem::path& path, const Phrases& phrases) {
  std::error_code code;
  std::uintmax_t& read = read_[path.string()];
  if (const auto bytes = std::filesystem::file_size(path, code); code || bytes == read) return;
  std::ifstream file(path);
  file.seekg(static_cast<std::streamoff>(read));
  for (std::string line; std::getline(file, line) && !file.eof();) {
    read += line.size() + 1;
    for (const auto& [phrase, name] : phrases) counts_[name] += line.find(phrase) == std::string::npos ? 0 : 1;
  }
}

}  // namespace nabla::chaos
