#include "protocol/allow_list.h"

#include "common/error.h"
#include "common/log.h"
#include "protocol/keys.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

namespace nabla {

namespace {

constexpr const char* kEnding = ".pub";
constexpr std::int64_t kNanoseconds = 1'000'000'000;
// A change so short ago may be followed by another one that leaves the file's times as they are: clocks of file systems are coarse.
constexpr std::int64_t kSettled = kNanoseconds / 2;

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * kNanoseconds + time.tv_nsec; }

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now);
}

// Whether nothing but this process's or machine's limit keeps a file from being opened.
bool lacks_descriptors(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0) ::close(descriptor);
  return descriptor < 0 && (errno == EMFILE || errno == ENFILE);
}

}  // namespace

AllowList::AllowList(std::string folder) : folder_(std::move(folder)) {
  const auto states = look();
  if (!states)
    throw data_error("[keys] cannot read the allow-list '{}': {}; make keys with `nabla keys new`", folder_, std::strerror(errno));
  take(*states);
}

// The files as the folder shows them; nothing, with errno, if it cannot be read.
std::optional<std::map<std::string, AllowList::State>> AllowList::look() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(folder_.c_str()), ::closedir);
  if (!folder) return std::nullopt;
  std::map<std::string, State> states;
  while (const dirent* item = ::readdir(folder.get())) {
    const std::string name = item->d_name;
    struct stat status {};
    if (!name.ends_with(kEnding) || name.starts_with('.')) continue;
    if (::fstatat(::dirfd(folder.get()), item->d_name, &status, 0) != 0 || !S_ISREG(status.st_mode)) continue;
    states[name] = {static_cast<std::int64_t>(status.st_ino), status.st_size, nanoseconds(status.st_ctim)};
  }
  return states;
}

void AllowList::read(const std::string& name, const State& state, File& file) const {
  const std::string path = folder_ + "/" + name;
  file.read_at.reset();
  std::string fault;
  try {
    std::string key = read_public_key(path);
    file.key = std::move(key);
  } catch (const Error& error) {
    fault = error.what();
    if (!lacks_descriptors(path)) file.key.clear();  // else what was true stays true
  }
  if (!fault.empty() && fault != file.fault) log_warning("left out of the allow-list: {}", fault);
  file.fault = std::move(fault);
  struct stat status {};
  const bool same = ::stat(path.c_str(), &status) == 0 &&
                    State{static_cast<std::int64_t>(status.st_ino), status.st_size, nanoseconds(status.st_ctim)} == state;
  if (same && now_ns() - state.changed_ns > kSettled) file.read_at = state;
}

void AllowList::take(const std::map<std::string, State>& states) {
  std::erase_if(files_, [&](const auto& file) { return !states.contains(file.first); });
  names_.clear();
  for (const auto& [name, state] : states) {
    File& file = files_[name];
    if (file.read_at != state) read(name, state, file);
    if (!file.key.empty()) names_.emplace(file.key, name.substr(0, name.rfind('.')));
  }
}

bool AllowList::refresh() {
  auto states = look();
  if (!states && errno != ENOENT && errno != ENOTDIR) return false;  // such as too many open files: what was true stays true
  if (!states) states.emplace();
  const auto before = names_;
  take(*states);
  return names_ != before;
}

std::optional<std::string> AllowList::name_of(const std::string& public_key) const {
  const auto found = names_.find(public_key);
  return found == names_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace nabla
