#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

class WireContext;

// A CURVE key pair in Z85, 40 characters each.
struct KeyPair {
  std::string public_key, secret_key;
};

// What a learner needs to let in those it knows, and nobody else.
struct ServerKeys {
  KeyPair pair;
  std::string allow_list;  // folder whose *.pub files are the keys of those who may connect; read again while the server runs
};

// What an actor needs to be let in, and to know that it talks to its learner.
struct ActorKeys {
  KeyPair pair;
  std::string server_public_key;
};

// failure() where the library has no CURVE.
KeyPair make_key_pair();
// The public key that belongs to a secret key; nothing if it is none.
std::optional<std::string> public_key_of(const std::string& secret_key);
// 40 characters of Z85 that decode to 32 bytes.
bool is_curve_key(const std::string& text);
// The first 64 bits of a public key, for people.
std::string fingerprint_of(const std::string& public_key);

// Make a ZeroMQ socket ask for CURVE; before it is bound or connected. Whom a server lets in is its context's ZapHandler's to say; without one, nobody.
void require_curve(void* socket, const KeyPair& server);
void use_curve(void* socket, const ActorKeys& actor);

// What the handshakes of a connecting socket came to, told by the library's monitor. Used by the thread that uses the socket.
class HandshakeWatch {
 public:
  enum class Outcome { kNone, kSucceeded, kOtherMechanism, kKeyRefused, kBrokenOff };

  // Watches from now on; `socket` must outlive it.
  HandshakeWatch(const WireContext& context, void* socket);
  ~HandshakeWatch();
  HandshakeWatch(const HandshakeWatch&) = delete;
  HandshakeWatch& operator=(const HandshakeWatch&) = delete;

  // The newest outcome since the last call.
  Outcome take();
  // What the connection has brought since its handshake, by the kernel's count as of the last take(); 0 where it is none of TCP.
  std::uint64_t bytes_received() const;

 private:
  void* watched_;
  void* events_;
  int descriptor_ = -1;             // of the newest connection
  std::uint64_t of_handshake_ = 0;  // bytes
  bool passed_ = false;             // its handshake
};

// The connections that a listening socket takes, told by the library's monitor. Used by the thread that uses the socket.
class ArrivalWatch {
 public:
  // Watches from now on; `socket` must outlive it.
  ArrivalWatch(const WireContext& context, void* socket);
  ~ArrivalWatch();
  ArrivalWatch(const ArrivalWatch&) = delete;
  ArrivalWatch& operator=(const ArrivalWatch&) = delete;

  // Descriptors since the last call; some may be closed again.
  std::vector<int> take();
  // Has something to read when there are some.
  void* handle() const { return events_; }

 private:
  void* watched_;
  void* events_;
};

}  // namespace nabla
