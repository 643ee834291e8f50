#pragma once

#include "protocol/curve.h"
#include "protocol/tensor_table.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// The values are wire constants; below 64 an actor speaks, from 64 on the learner.
enum class MessageType : std::uint8_t {
  kHello = 1,
  kTicketRequest = 2,
  kRecord = 3,
  kEvaluation = 4,
  kTicketFailure = 5,
  kHeartbeat = 6,
  kGoodbye = 7,
  kSnapshotRequest = 8,
  kStatesRequest = 9,
  kWelcome = 65,
  kRefusal = 66,
  kWork = 67,
  kAck = 68,
  kNoted = 69,  // a ticket failure was taken down
  kAlive = 70,
  kSnapshot = 71,
  kNoSnapshot = 72,
  kSayHello = 73,  // the learner does not know this connection (it was restarted, or counted the actor as gone)
  kBadMessage = 74,
  kRunOver = 75,
  kStates = 76,
  kNoStates = 77,
};
inline constexpr MessageType kLastOfActor = MessageType::kStatesRequest, kLastOfLearner = MessageType::kNoStates;

// One message: an envelope of 32 bytes, a body and, for some types, a data frame. The checksums are their makers'; nobody here compares them.
struct WireMessage {
  std::string peer;     // routing id at a router; empty at a dealer
  std::string key;      // public key that the sender proved to hold; empty on sockets without keys
  int descriptor = -1;  // of the connection it came by; -1: unknown
  MessageType type = MessageType::kHello;
  std::uint64_t request = 0;  // chosen by the actor, repeated in the answer; 0: no answer is waited for
  Bytes body, data;
  std::uint32_t body_crc32c = 0, data_crc32c = 0;
};

inline constexpr std::size_t kEnvelopeBytes = 32;

// Owns the ZeroMQ context. Sockets must be gone before it goes.
class WireContext {
 public:
  WireContext();
  ~WireContext();
  WireContext(const WireContext&) = delete;
  WireContext& operator=(const WireContext&) = delete;
  void* handle() const { return handle_; }

 private:
  void* handle_;
};

enum class SocketKind { kRouter, kDealer };
// Who may reach a listening socket.
enum class Reach { kThisMachine, kEverybody };
enum class Received { kNothing, kMessage, kMalformed, kDamaged };

// Reads the first frame of a message of which `frames_behind` more are there; sets type, request and checksums.
Received read_envelope(std::span<const std::byte> frame, std::size_t frames_behind, WireMessage& message);

// A ROUTER or DEALER that sends and receives messages without blocking. Used by one thread at a time.
class WireSocket {
 public:
  WireSocket(const WireContext& context, SocketKind kind, std::size_t max_frame_bytes);
  ~WireSocket();
  WireSocket(const WireSocket&) = delete;
  WireSocket& operator=(const WireSocket&) = delete;

  // From now on the socket speaks CURVE and nothing else; before bind() or connect(). A server's context needs a ZapHandler.
  void require_keys(const KeyPair& server) { require_curve(handle_, server); }
  void use_keys(const ActorKeys& actor) { use_curve(handle_, actor); }
  // network_error naming the address when it is in use or no address; usage_error for one that is open to other machines when only this one may reach it.
  void bind(const std::string& address, Reach reach = Reach::kThisMachine);
  void connect(const std::string& address);
  // The bound address with the port that was picked.
  std::string endpoint() const;
  // Bytes are shared with the library until they are on their way, not copied. false: the peer is gone or its queue is full, and nothing was sent.
  bool send(const WireMessage& message);
  // kMessage: one message was taken. kMalformed: one was taken and dropped that nobody of ours sends; kDamaged: one whose envelope has another checksum.
  // Of these two the peer, its key and its connection are told.
  Received receive(WireMessage& message);
  // How long unsent messages may hold the closing of the context; zero by default.
  void set_linger(std::chrono::milliseconds linger);
  // Sends frames as they are: for tests and benchmarks.
  bool send_frames(const std::vector<Bytes>& frames);
  void* handle() const { return handle_; }

 private:
  void* handle_;
  SocketKind kind_;
};

// Ends a wait of another thread.
class WakeUp {
 public:
  WakeUp();
  ~WakeUp();
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  void signal();
  void clear();
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// Waits until a socket has something to read, the wake-up is signalled or the time is over. Sockets may be null.
void wait_readable(std::span<void* const> sockets, const WakeUp* wake_up, std::chrono::milliseconds timeout);
void wait_readable(const WireSocket* first, const WireSocket* second, const WakeUp* wake_up, std::chrono::milliseconds timeout);

}  // namespace nabla
