#pragma once

#include "protocol/curve.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nabla {

// Keys as files. A folder of a learner:
//   server.key        secret, 0600    the learner's pair
//   server.pub                        its public key
//   actors/NAME.pub                   the allow-list: who may connect
//   actors/NAME.key   secret, 0600    all that an actor needs: its pair and the learner's public key; carried to the actor's machine
//   revoked/NAME.pub                  who may no more
// The actor "local" is made with the server's keys: actors on the learner's machine find its file through the run folder.
inline constexpr const char* kLocalActor = "local";

// A key file: one "field value" a line, lines that start with '#' are for people.
struct KeyFile {
  std::string role;  // "server" or "actor"
  std::string name;
  std::string public_key, secret_key, server_key;  // the last two empty in a public file; server_key is of an actor's secret file
  std::int64_t created = 0;                        // seconds since 1970
};
std::string key_text(const KeyFile& file);
// data_error naming `path` and the line: an unknown, missing or doubled field, a value that is none, a pair whose halves do not belong together.
KeyFile parse_key_text(std::string_view text, const std::string& path);

// Reads a secret file. data_error if it is not one, or if others than its owner may read it, naming the mode and the chmod to run.
ServerKeys read_server_keys(const std::string& folder);
ActorKeys read_actor_keys(const std::string& path);
// The public key of a public or secret file.
std::string read_public_key(const std::string& path);

// Make keys. usage_error if there are such already or, for an actor, if the name is no file name or there is no server key; failure() if a file cannot be written.
// The files appear whole or not at all, an actor's public key last: who is in the allow-list has its secret file.
void make_server_keys(const std::string& folder);
void make_actor_keys(const std::string& folder, const std::string& name);
// Takes an actor out of the allow-list. usage_error naming those that are in it if it is not.
void revoke_actor(const std::string& folder, const std::string& name);

struct KeyEntry {
  std::string role, name, fingerprint;
  std::int64_t created = 0;
  bool allowed = true;      // false: revoked
  bool has_secret = false;  // its secret file is in the folder
  std::string fault;        // why the file cannot be read
};
// Server, allowed actors, revoked ones; never a secret. data_error if there is no such folder.
std::vector<KeyEntry> list_keys(const std::string& folder);

}  // namespace nabla
