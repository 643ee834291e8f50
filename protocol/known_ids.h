#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// The actor ids of a run. Each has counters that stay, so there is a limit; who says hello under ever new ids without doing any work does not use it
// up for others, for such ids are forgotten when room is wanted.
class KnownIds {
 public:
  // `most` in all; `most_idle`: that one key may have without work of theirs.
  explicit KnownIds(std::size_t most = 65536, std::size_t most_idle = 1024) : most_(most), most_idle_(most_idle) {}

  struct Answer {
    std::string refusal;                 // empty: the id is known from now on
    std::vector<std::string> forgotten;  // to make room
  };
  // `is_here`: whether an id is connected; such ones stay. `key` is empty without keys, where nobody can be told apart.
  Answer take_in(const std::string& id, const std::string& key, const std::function<bool(const std::string&)>& is_here);
  // Something that the id delivered was taken: it is not forgotten any more.
  void note_work(const std::string& id);

 private:
  struct Entry {
    std::string key;
    bool idle = true;
  };
  std::vector<std::string> forget_idle(const std::function<bool(const std::string&, const Entry&)>& may_go);

  std::size_t most_, most_idle_;
  std::map<std::string, Entry> entries_;     // by id
  std::map<std::string, std::size_t> idle_;  // ids without work, by key
};

}  // namespace nabla
