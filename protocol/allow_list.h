#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace nabla {

// The public keys of the *.pub files of a folder: who may connect. A file that cannot be read is left out with a warning, so that a bad one keeps nobody
// else out; a folder that is gone allows nobody. What is remembered of a file is what was read of it: one that cannot be read just now, or that changed
// while it was read or so short before that its times cannot tell, is read again next time.
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
  struct State {
    std::int64_t inode = 0, size = 0, changed_ns = 0;
    bool operator==(const State&) const = default;
  };
  struct File {
    std::optional<State> read_at;  // nothing: to be read again
    std::string key;               // empty: it holds none
    std::string fault;             // that was warned of
  };
  std::optional<std::map<std::string, State>> look() const;
  void read(const std::string& name, const State& state, File& file) const;
  void take(const std::map<std::string, State>& states);

  std::string folder_;
  std::map<std::string, File> files_;         // by name
  std::map<std::string, std::string> names_;  // by public key
};

}  // namespace nabla
