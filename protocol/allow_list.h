#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// The public keys of the *.pub files of a folder: who may connect. A file that cannot be read is left out with a warning, so that a bad one keeps nobody
// else out; a folder that is gone allows nobody.
class AllowList {
 public:
  // data_error if the folder cannot be read.
  explicit AllowList(std::string folder);

  // Looks again, cheaply where no file has changed; true if the keys are others now.
  bool refresh();
  // The name that a public key is known under; nothing: not allowed.
  std::optional<std::string> name_of(const std::string& public_key) const;
  std::size_t size() const { return names_.size(); }

 private:
  struct Entry {
    std::string name;
    std::int64_t inode = 0, size = 0, changed_ns = 0;
    bool operator==(const Entry&) const = default;
  };
  std::optional<std::vector<Entry>> look() const;
  void read(const std::vector<Entry>& entries);

  std::string folder_;
  std::vector<Entry> entries_;                // as last read
  std::map<std::string, std::string> names_;  // by public key
};

}  // namespace nabla
