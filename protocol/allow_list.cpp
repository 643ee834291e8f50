#include "protocol/allow_list.h"

#include "common/error.h"
#include "common/log.h"
#include "protocol/keys.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace nabla {

namespace {

constexpr const char* kEnding = ".pub";
constexpr std::int64_t kNanoseconds = 1'000'000'000;

}  // namespace

AllowList::AllowList(std::string folder) : folder_(std::move(folder)) {
  const auto entries = look();
  if (!entries)
    throw data_error("[keys] cannot read the allow-list '{}': {}; make keys with `nabla keys new`", folder_, std::strerror(errno));
  read(*entries);
}

// The files as the folder shows them; nothing, with errno, if it cannot be read.
std::optional<std::vector<AllowList::Entry>> AllowList::look() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(folder_.c_str()), ::closedir);
  if (!folder) return std::nullopt;
  std::vector<Entry> entries;
  while (const dirent* item = ::readdir(folder.get())) {
    const std::string name = item->d_name;
    struct stat status {};
    if (!name.ends_with(kEnding) || name.starts_with('.')) continue;
    if (::fstatat(::dirfd(folder.get()), item->d_name, &status, 0) != 0 || !S_ISREG(status.st_mode)) continue;
    entries.push_back(
        {name, static_cast<std::int64_t>(status.st_ino), status.st_size, status.st_ctim.tv_sec * kNanoseconds + status.st_ctim.tv_nsec});
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

void AllowList::read(const std::vector<Entry>& entries) {
  names_.clear();
  for (const Entry& entry : entries) {
    try {
      const std::string name = entry.name.substr(0, entry.name.rfind('.'));
      names_.emplace(read_public_key(folder_ + "/" + entry.name), name);
    } catch (const Error& error) {
      log_warning("left out of the allow-list: {}", error.what());
    }
  }
  entries_ = entries;
}

bool AllowList::refresh() {
  auto entries = look();
  if (!entries && errno != ENOENT && errno != ENOTDIR) return false;  // such as too many open files: what was true stays true
  if (!entries) entries.emplace();
  if (*entries == entries_) return false;
  const auto before = names_;
  read(*entries);
  return names_ != before;
}

std::optional<std::string> AllowList::name_of(const std::string& public_key) const {
  const auto found = names_.find(public_key);
  return found == names_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace nabla
