#include "protocol/keys.h"

#include "common/error.h"
#include "common/files.h"
#include "common/nearest.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <utility>

namespace nabla {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxKeyFile = 4096, kMaxName = 64;
constexpr const char* kFormat = "1";

// Fields of a file in their order; the last two may be missing.
std::array<std::pair<std::string_view, std::string KeyFile::*>, 5> text_fields() {
  return {{{"role", &KeyFile::role},
           {"name", &KeyFile::name},
           {"public", &KeyFile::public_key},
           {"secret", &KeyFile::secret_key},
           {"server", &KeyFile::server_key}}};
}

bool is_name(const std::string& name) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' && name.find_first_not_of(kAllowed) == std::string::npos;
}

void require_name(const std::string& name) {
  if (!is_name(name))
    throw usage_error("[keys] '{}' cannot name an actor: 1 to {} letters, digits, '.', '_' or '-' are expected, not starting with '.'",
                      name, kMaxName);
}

std::string find_fault(const KeyFile& file) {
  if (file.role != "server" && file.role != "actor") return "'role' is neither server nor actor";
  if (!is_name(file.name)) return "'name' is no name";
  if (!is_curve_key(file.public_key)) return "'public' is no key (40 characters of Z85)";
  if (file.secret_key.empty()) return file.server_key.empty() ? "" : "'server' stands in a file without 'secret'";
  if (public_key_of(file.secret_key) != file.public_key) return "'secret' is not the other half of 'public'";
  if (file.role == "server") return file.server_key.empty() ? "" : "'server' stands in the server's own file";
  return is_curve_key(file.server_key) ? "" : "'server' is missing or no key (40 characters of Z85)";
}

// One line into its field; what is wrong with it, or nothing.
std::string take_line(std::string_view field, std::string_view value, KeyFile& file, bool& format_seen) {
  if (value.empty()) return "a field has no value";
  if (field == "nabla-key") {
    if (std::exchange(format_seen, true)) return "'nabla-key' stands there twice";
    return value == kFormat ? "" : fmt::format("is of format '{}', this program reads {}", value, kFormat);
  }
  if (field == "created") {
    if (file.created != 0) return "'created' stands there twice";
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), file.created);
    return code == std::errc{} && end == value.data() + value.size() && file.created > 0 ? "" : "'created' is no time in seconds";
  }
  for (const auto& [name, member] : text_fields()) {
    if (field != name) continue;
    if (!(file.*member).empty()) return fmt::format("'{}' stands there twice", field);
    file.*member = value;
    return "";
  }
  return "an unknown field";
}

Error bad_file(const std::string& path, const std::string& fault) {
  return data_error("[keys] '{}' is no key file: {}; `nabla keys new` makes them", path, fault);
}

// The secret file is never touched before its mode was looked at.
KeyFile read_secret(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw data_error("[keys] cannot read '{}': {}; `nabla keys new` makes keys", path, std::strerror(errno));
  if ((status.st_mode & 077) != 0)
    throw data_error("[keys] the secret key '{}' can be read by others (mode 0{}{}{}); run: chmod 600 '{}'", path, status.st_mode >> 6 & 7,
                     status.st_mode >> 3 & 7, status.st_mode & 7, path);
  KeyFile file = parse_key_text(read_file(path, kMaxKeyFile), path);
  if (file.secret_key.empty()) throw bad_file(path, "it has no 'secret'; this is a public file");
  return file;
}

void make_private_folder(const fs::path& path) {
  std::error_code error;
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw failure("[keys] cannot make the folder '{}': {}", path.string(), std::strerror(errno));
}

void refuse_existing(const std::string& path, std::string_view way_out) {
  if (fs::exists(path)) throw usage_error("[keys] '{}' exists; {}", path, way_out);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const std::string name = item.path().filename().string();
    if (name.ends_with(".pub") && !name.starts_with('.')) names.push_back(name.substr(0, name.size() - 4));
  }
  std::ranges::sort(names);
  return names;
}

KeyEntry entry_of(const std::string& path, const std::string& name, bool allowed) {
  KeyEntry entry;
  entry.role = name == "server" ? "server" : "actor";
  entry.name = name;
  entry.allowed = allowed;
  try {
    const KeyFile file = parse_key_text(read_file(path, kMaxKeyFile), path);
    entry.role = file.role;
    entry.fingerprint = fingerprint_of(file.public_key);
    entry.created = file.created;
  } catch (const Error& error) {
    entry.fault = error.what();
  }
  return entry;
}

}  // namespace

std::string key_text(const KeyFile& file) {
  std::string text = file.secret_key.empty()
                         ? fmt::format("# Public key of {} '{}': no secret.\n", file.role, file.name)
                         : fmt::format("# SECRET key of {} '{}': keep it at mode 0600 and show it to nobody.\n", file.role, file.name);
  text += fmt::format("nabla-key {}\ncreated {}\n", kFormat, file.created);
  for (const auto& [name, member] : text_fields()) {
    if (!(file.*member).empty()) text += fmt::format("{} {}\n", name, file.*member);
  }
  return text;
}

KeyFile parse_key_text(std::string_view text, const std::string& path) {
  KeyFile file;
  bool format_seen = false;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string fault = take_line(line.substr(0, space), line.substr(std::min(space + 1, line.size())), file, format_seen);
    // Never the line itself: it may hold a secret.
    if (!fault.empty()) throw bad_file(path, fmt::format("line {}: {}", number, fault));
  }
  if (!format_seen) throw bad_file(path, "it has no line 'nabla-key 1'");
  if (file.created == 0) throw bad_file(path, "it has no 'created'");
  if (const std::string fault = find_fault(file); !fault.empty()) throw bad_file(path, fault);
  return file;
}

ServerKeys read_server_keys(const std::string& folder) {
  const KeyFile file = read_secret(folder + "/server.key");
  if (file.role != "server") throw bad_file(folder + "/server.key", "it is an actor's");
  return {{file.public_key, file.secret_key}, folder + "/actors"};
}

ActorKeys read_actor_keys(const std::string& path) {
  const KeyFile file = read_secret(path);
  if (file.role != "actor")
    throw bad_file(path, "it is the server's secret, which belongs on the learner's machine alone; an actor needs KEYS/actors/NAME.key");
  return {{file.public_key, file.secret_key}, file.server_key};
}

std::string read_public_key(const std::string& path) { return parse_key_text(read_file(path, kMaxKeyFile), path).public_key; }

void make_server_keys(const std::string& folder) {
  const std::string secret = folder + "/server.key";
  refuse_existing(secret, "its actors know that key. For another one use another folder");
  make_private_folder(folder);
  make_private_folder(folder + "/actors");
  const KeyPair pair = make_key_pair();
  KeyFile file{"server", "server", pair.public_key, "", "", std::time(nullptr)};
  write_file(folder + "/server.pub", key_text(file));
  file.secret_key = pair.secret_key;
  write_private_file(secret, key_text(file));
  make_actor_keys(folder, kLocalActor);
}

void make_actor_keys(const std::string& folder, const std::string& name) {
  require_name(name);
  if (!fs::exists(folder + "/server.pub"))
    throw usage_error("[keys] there is no server key in '{}'; make it first: nabla keys new --dir {} server", folder, folder);
  const std::string stem = folder + "/actors/" + name;
  for (const char* ending : {".pub", ".key"})
    refuse_existing(stem + ending, fmt::format("take another name, or revoke it first: nabla keys revoke --dir {} {}", folder, name));
  make_private_folder(folder + "/actors");
  const KeyPair pair = make_key_pair();
  KeyFile file{"actor", name, pair.public_key, pair.secret_key, read_public_key(folder + "/server.pub"), std::time(nullptr)};
  write_private_file(stem + ".key", key_text(file));
  file.secret_key = file.server_key = "";
  write_file(stem + ".pub", key_text(file));
}

void revoke_actor(const std::string& folder, const std::string& name) {
  require_name(name);
  const std::string allowed = folder + "/actors/" + name;
  if (!fs::exists(allowed + ".pub")) {
    throw usage_error("[keys] no actor '{}' is in the allow-list of '{}'; there are: {}", name, folder,
                      comma_list(names_in(folder + "/actors")));
  }
  make_private_folder(folder + "/revoked");
  std::string target = fmt::format("{}/revoked/{}.pub", folder, name);
  for (int number = 2; fs::exists(target); ++number) target = fmt::format("{}/revoked/{}.{}.pub", folder, name, number);
  if (std::rename((allowed + ".pub").c_str(), target.c_str()) != 0)
    throw failure("[keys] cannot move '{}.pub' to '{}': {}", allowed, target, std::strerror(errno));
  std::error_code ignored;
  fs::remove(allowed + ".key", ignored);  // of no use any more
  sync_folder(folder + "/actors");
  sync_folder(folder + "/revoked");
}

std::vector<KeyEntry> list_keys(const std::string& folder) {
  if (!fs::is_directory(folder))
    throw data_error("[keys] there is no folder '{}'; make it with `nabla keys new --dir {} server`", folder, folder);
  std::vector<KeyEntry> entries;
  const auto add_all = [&](const std::string& place, bool allowed) {
    for (const std::string& name : names_in(place)) {
      entries.push_back(entry_of(fmt::format("{}/{}.pub", place, name), name, allowed));
      entries.back().has_secret = fs::exists(fmt::format("{}/{}.key", place, name));
    }
  };
  add_all(folder, true);
  add_all(folder + "/actors", true);
  add_all(folder + "/revoked", false);
  return entries;
}

}  // namespace nabla
