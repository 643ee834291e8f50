#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace nabla::chaos {

// How often something befell a run, by its name (docs/reliability.md).
using Counts = std::map<std::string, std::int64_t>;

// What there is too little of, for people; empty: nothing. A name that nobody counts is one that never happens.
std::string lacking(const Counts& must, const Counts& happened);

// What learner, actors and the preloaded libraries say in their files, while they run and after: what faults did to them.
class Evidence {
 public:
  explicit Evidence(const std::string& run_dir);
  // Reads what is new. refused: records; refused_hellos; silent_ends: actors that the learner had not heard of for too long; discarded: slots; hellos: that were welcomed;
  // failpoints_met; disk_faults; clock_reads: processes that saw the clock jump; acked: acknowledgements; duplicates: those among them of records that
  // were there.
  const Counts& look();

 private:
  void look_into(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::string>>& phrases);

  const std::filesystem::path run_dir_;
  std::map<std::string, std::uintmax_t> read_;  // bytes, by path
  Counts counts_;
};

}  // namespace nabla::chaos
