#include "protocol/known_ids.h"

#include <fmt/format.h>

namespace nabla {

KnownIds::Answer KnownIds::take_in(const std::string& id, const std::string& key, const std::function<bool(const std::string&)>& is_here) {
  Answer answer;
  if (entries_.contains(id)) return answer;
  const auto is_full = [&] { return !key.empty() && idle_[key] >= most_idle_; };
  if (is_full()) answer.forgotten = forget_idle([&](const auto& name, const Entry& entry) { return entry.key == key && !is_here(name); });
  if (is_full()) {
    answer.refusal = fmt::format("{} actors with this key are connected and have delivered nothing yet, no more are served", most_idle_);
    return answer;
  }
  if (entries_.size() >= most_) answer.forgotten = forget_idle([&](const auto& name, const Entry&) { return !is_here(name); });
  if (entries_.size() >= most_) {
    answer.refusal = fmt::format("{} actors have worked for this run, no more are served", most_);
    return answer;
  }
  entries_.emplace(id, Entry{key});
  ++idle_[key];
  return answer;
}

void KnownIds::note_work(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.idle) return;
  found->second.idle = false;
  --idle_[found->second.key];
}

std::vector<std::string> KnownIds::forget_idle(const std::function<bool(const std::string&, const Entry&)>& may_go) {
  std::vector<std::string> forgotten;
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (!it->second.idle || !may_go(it->first, it->second)) {
      ++it;
      continue;
    }
    --idle_[it->second.key];
    forgotten.push_back(it->first);
    it = entries_.erase(it);
  }
  return forgotten;
}

}  // namespace nabla
