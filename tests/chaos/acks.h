#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nabla::chaos {

// What an actor was told about one record. `first`: appended to the log; else somebody's record of the slot was there before.
struct AckLine {
  std::int64_t slot = 0, nonce = 0;
  bool first = false;
  std::string actor_id;
};

// Notes acknowledgements in a file, one line each, so that they outlive a killed actor.
class AckFile {
 public:
  explicit AckFile(const std::string& path);
  ~AckFile();
  AckFile(const AckFile&) = delete;
  AckFile& operator=(const AckFile&) = delete;
  void add(const AckLine& line);

 private:
  std::string path_;
  int descriptor_;
};

// All lines of the files of a folder; a line that was cut off by a kill does not count.
std::vector<AckLine> read_acks(const std::string& folder);

}  // namespace nabla::chaos
