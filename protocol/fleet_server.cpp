#include "protocol/fleet_server.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "protocol/gatekeeper.h"
#include "protocol/known_ids.h"
#include "protocol/wire_message.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace nabla {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMaxPeers = 4096;
// Messages taken from one socket before the other one and the timers get their turn.
constexpr int kMaxBurst = 64;

// A connected actor.
struct Peer {
  std::string routing, key;  // of its connection
  std::string host;
  std::int64_t pid = 0;
  Clock::time_point last_heard;
  // The last answer, for an actor that lost it and asks again: a ticket must not be handed out twice for one request.
  std::uint64_t last_request = 0;
  std::optional<WireMessage> last_answer;
};

}  // namespace

struct FleetServer::Impl {
  Impl(const FleetServerOptions& server_options, FleetHandler& fleet_handler)
      : options(server_options),
        handler(fleet_handler),
        control(context, SocketKind::kRouter, options.max_frame_bytes),
        weights(context, SocketKind::kRouter, options.max_frame_bytes),
        gate_(context, options.keys, options.quarantine) {
    for (WireSocket* socket : {&control, &weights}) gate_.guard(*socket);
    const Reach reach = options.keys || options.insecure ? Reach::kEverybody : Reach::kThisMachine;
    control.bind(options.control_address, reach);
    weights.bind(options.weights_address, reach);
    control_endpoint = control.endpoint();
    weights_endpoint = weights.endpoint();
    gate_.watch(context, control, weights, options.max_frame_bytes);
  }

  void serve();
  void stop();

  const FleetServerOptions options;
  FleetHandler& handler;
  WireContext context;
  WireSocket control, weights;
  WakeUp wake_up;
  std::string control_endpoint, weights_endpoint;
  std::atomic<bool> stopping{false}, finished{false};
  std::thread thread;

  mutable std::mutex mutex;
  std::map<std::string, std::int64_t> counts;  // guarded by mutex
  std::exception_ptr first_failure;            // guarded by mutex

 private:
  milliseconds tick_interval() const { return std::clamp(options.heartbeat_interval / 5, milliseconds(1), milliseconds(100)); }
  void count(const std::string& name, std::int64_t amount = 1);
  void count_of(const std::string& actor_id, std::string_view name);
  void serve_control(const WireMessage& message);
  void serve_weights(const WireMessage& message);
  void serve_peer(const std::string& actor_id, Peer& peer, const WireMessage& message);
  void greet(const WireMessage& message);
  void welcome(const WireMessage& message, const Hello& hello);
  std::string find_hello_fault(const WireMessage& message, const Hello& hello);
  std::string take_in(const std::string& actor_id, const std::string& key);
  void replace_older(const Hello& hello, const std::string& routing);
  void order(const std::string& actor_id, Peer& peer, const WireMessage& message);
  void take_record(const std::string& actor_id, Peer& peer, const WireMessage& message);
  void take_evaluation(const std::string& actor_id, Peer& peer, const WireMessage& message);
  void take_ticket_failure(const std::string& actor_id, Peer& peer, const WireMessage& message);
  void give_states(const WireMessage& message);
  void take_heartbeat(const std::string& actor_id, const WireMessage& message);
  void acknowledge(const std::string& actor_id, Peer& peer, const WireMessage& message, Ack ack);
  void take_all(WireSocket& socket, void (Impl::*serve_one)(const WireMessage&));
  bool is_welcome(const WireMessage& message, Received received);
  void make_round(Clock::time_point now);
  void turn_out_revoked();
  Gatekeeper::Source source_of(const WireMessage& message) const;
  void blame(const WireMessage& message, Quarantine::Fault fault, const std::string& what);
  void turn_out_key(const std::string& key);
  void refuse(const WireMessage& message, const std::string& reason);
  void forget(const std::string& actor_id, const std::string& why);
  void forget_silent(Clock::time_point now);
  void say_run_over();
  void complain(const WireMessage& message, const std::string& why, Quarantine::Fault fault = Quarantine::Fault::kContent);
  void answer(const WireMessage& question, WireMessage message);
  void answer_peer(Peer& peer, const WireMessage& question, WireMessage message);
  template <class Message>
  bool read(const WireMessage& message, Message& content);
  template <class Call>
  bool guarded(const WireMessage* question, Call call);

  // The server's thread only.
  Gatekeeper gate_;
  KnownIds ids_;                                           // of the whole run
  std::map<std::string, Peer> peers_;                      // by actor id
  std::unordered_map<std::string, std::string> actor_of_;  // by routing id
  std::int64_t newest_version_ = 0;
  std::string newest_digest_;
};

void FleetServer::Impl::count(const std::string& name, std::int64_t amount) {
  const std::lock_guard lock(mutex);
  counts[name] += amount;
}

void FleetServer::Impl::count_of(const std::string& actor_id, std::string_view name) { count(fmt::format("actor.{}.{}", actor_id, name)); }

void FleetServer::Impl::answer(const WireMessage& question, WireMessage message) {
  message.peer = question.peer;
  message.request = question.request;
  control.send(message);
}

void FleetServer::Impl::answer_peer(Peer& peer, const WireMessage& question, WireMessage message) {
  message.peer = question.peer;
  message.request = question.request;
  control.send(message);
  peer.last_request = question.request;
  peer.last_answer = std::move(message);
}

void FleetServer::Impl::refuse(const WireMessage& message, const std::string& reason) {
  count("refused");
  answer(message, message_of(MessageType::kRefusal, Refusal{wire_text(reason), 4}));
}

void FleetServer::Impl::complain(const WireMessage& message, const std::string& why, Quarantine::Fault fault) {
  count("malformed");
  if (const auto actor = actor_of_.find(message.peer); actor != actor_of_.end()) count_of(actor->second, "malformed");
  answer(message, message_of(MessageType::kBadMessage, Notice{wire_text(why)}));
  blame(message, fault, why);
}

Gatekeeper::Source FleetServer::Impl::source_of(const WireMessage& message) const {
  const auto actor = actor_of_.find(message.peer);
  return {message.peer, message.key, actor == actor_of_.end() ? "" : actor->second};
}

void FleetServer::Impl::blame(const WireMessage& message, Quarantine::Fault fault, const std::string& what) {
  const Gatekeeper::Source source = source_of(message);
  const Gatekeeper::Verdict verdict = gate_.charge(source, fault);
  if (verdict == Gatekeeper::Verdict::kHeard) return;
  count("quarantined");
  log_warning("{} is turned away for a while: too many of its messages are nonsense, the last one: {}",
              source.actor.empty() ? "a peer that is no actor" : fmt::format("actor {}", source.actor), what);
  const std::string reason = gate_.reason_of(source);
  if (!source.actor.empty()) forget(source.actor, "turned away: " + what);  // before it hears of it, so that its ticket is free by then
  refuse(message, reason);
  if (verdict == Gatekeeper::Verdict::kKeyTurnedAway) turn_out_key(message.key);
}

// All who hold the key hear why nobody listens to them, and their tickets are free.
void FleetServer::Impl::turn_out_key(const std::string& key) {
  count("quarantined_keys");
  log_warning("all actors with the key {}... are turned away for a while: too much nonsense came under it", fingerprint_of(key));
  std::vector<std::string> holders;
  for (const auto& [actor_id, peer] : peers_) {
    if (peer.key == key) holders.push_back(actor_id);
  }
  for (const std::string& actor_id : holders) {
    WireMessage question;
    question.peer = peers_.at(actor_id).routing;
    forget(actor_id, "turned away: its key is, for the nonsense of others who hold it");
    refuse(question, gate_.reason_of({"", key, ""}));
  }
}

// Checks and decodes a body; complains to its sender if it cannot be read.
template <class Message>
bool FleetServer::Impl::read(const WireMessage& message, Message& content) {
  if (crc32c(message.body.view) != message.body_crc32c) {
    complain(message, "the body's checksum does not fit", Quarantine::Fault::kDamage);
    return false;
  }
  const DecodeStatus status = decode(message.body.view, content);
  if (!status.ok) complain(message, "the body " + status.reason);
  return status.ok;
}

// Calls the handler; what it throws is kept for the owner, and the actor that asked is told instead of being left to wait.
template <class Call>
bool FleetServer::Impl::guarded(const WireMessage* question, Call call) {
  try {
    call();
    return true;
  } catch (const std::exception& error) {
    {
      const std::lock_guard lock(mutex);
      if (!first_failure) first_failure = std::current_exception();
    }
    count("handler_failures");
    if (question != nullptr) {
      answer(*question, message_of(MessageType::kRefusal, Refusal{wire_text(fmt::format("the learner failed: {}", error.what())), 1}));
    }
    return false;
  }
}

std::string FleetServer::Impl::find_hello_fault(const WireMessage& message, const Hello& hello) {
  if (hello.actor_id.empty()) return "the actor has no id";
  if (std::string reason = gate_.reason_of({"", message.key, hello.actor_id}); !reason.empty()) {
    gate_.charge_connection(message.peer);  // so that it is not told for ever
    return reason;
  }
  const auto holder = peers_.find(hello.actor_id);
  if (holder != peers_.end() && holder->second.key != message.key)
    return fmt::format("an actor with another key is connected as '{}'; give every actor its own id", hello.actor_id);
  if (holder == peers_.end() && peers_.size() >= kMaxPeers) return fmt::format("{} actors are connected, no more are served", kMaxPeers);
  return take_in(hello.actor_id, message.key);
}

// Why the id cannot be had; empty: it is known now.
std::string FleetServer::Impl::take_in(const std::string& actor_id, const std::string& key) {
  const KnownIds::Answer answer = ids_.take_in(actor_id, key, [this](const std::string& id) { return peers_.contains(id); });
  const std::lock_guard lock(mutex);
  for (const std::string& id : answer.forgotten) {
    for (const char* name : {"records", "rejected", "malformed"}) counts.erase(fmt::format("actor.{}.{}", id, name));
  }
  return answer.refusal;
}

void FleetServer::Impl::replace_older(const Hello& hello, const std::string& routing) {
  const auto found = peers_.find(hello.actor_id);
  if (found == peers_.end() || found->second.routing == routing) return;
  if (found->second.host == hello.host && found->second.pid == hello.pid) return;
  WireMessage refusal =
      message_of(MessageType::kRefusal, Refusal{fmt::format("actor id '{}' was taken over by process {} on {}; give every actor its own id",
                                                            hello.actor_id, hello.pid, hello.host),
                                                4});
  refusal.peer = found->second.routing;
  control.send(refusal);
  forget(hello.actor_id, fmt::format("process {} on {} took its id", hello.pid, hello.host));
}

void FleetServer::Impl::greet(const WireMessage& message) {
  Hello hello;
  count("hellos");
  if (crc32c(message.body.view) != message.body_crc32c)
    return complain(message, "the body's checksum does not fit", Quarantine::Fault::kDamage);
  const DecodeStatus status = decode(message.body.view, hello);
  if (status.other_version) return refuse(message, fmt::format("the actor {}; use the same release on both sides", status.reason));
  if (!status.ok) return complain(message, "the body " + status.reason);
  if (const std::string fault = find_hello_fault(message, hello); !fault.empty()) return refuse(message, fault);
  // A connection is one actor's.
  if (const auto before = actor_of_.find(message.peer); before != actor_of_.end() && before->second != hello.actor_id) {
    forget(std::string(before->second), fmt::format("its connection says that it is {} now", hello.actor_id));
    blame(message, Quarantine::Fault::kContent, "a hello under another id");
    if (gate_.judge(source_of(message)) != Gatekeeper::Verdict::kHeard) return;
  }
  replace_older(hello, message.peer);
  welcome(message, hello);
}

void FleetServer::Impl::welcome(const WireMessage& message, const Hello& hello) {
  std::variant<Welcome, Refusal> verdict;
  if (!guarded(&message, [&] { verdict = handler.on_hello(hello); })) return;
  if (auto* refusal = std::get_if<Refusal>(&verdict)) {
    count("refused");
    refusal->reason = wire_text(std::move(refusal->reason));
    if (peers_.contains(hello.actor_id)) forget(hello.actor_id, "refused: " + refusal->reason);
    return answer(message, message_of(MessageType::kRefusal, *refusal));
  }
  Welcome& welcome = std::get<Welcome>(verdict);
  if (welcome.weights_endpoint.empty()) welcome.weights_endpoint = weights_endpoint;
  newest_version_ = welcome.newest_version;
  Peer& peer = peers_[hello.actor_id];
  actor_of_.erase(peer.routing);
  peer.routing = message.peer;
  peer.key = message.key;
  peer.host = hello.host;
  peer.pid = hello.pid;
  peer.last_heard = Clock::now();
  actor_of_[message.peer] = hello.actor_id;
  answer(message, message_of(MessageType::kWelcome, welcome));
}

void FleetServer::Impl::order(const std::string& actor_id, Peer& peer, const WireMessage& message) {
  Work work;
  if (finished) {
    work.state = WorkState::kFinished;
    work.newest_version = newest_version_;
  } else if (!guarded(&message, [&] { work = handler.on_ticket_request(actor_id); })) {
    return;
  }
  newest_version_ = work.newest_version;
  work.wait_reason = wire_text(std::move(work.wait_reason));
  count(work.state == WorkState::kTicket ? "tickets" : work.state == WorkState::kWait ? "waits" : "finished");
  answer_peer(peer, message, message_of(MessageType::kWork, work));
}

void FleetServer::Impl::acknowledge(const std::string& actor_id, Peer& peer, const WireMessage& message, Ack ack) {
  if (ack.reject == Reject::kNone) {
    count("acks");
    ids_.note_work(actor_id);
  } else {
    count(fmt::format("rejected_{}", name_of(ack.reject)));
    if (ack.reject != Reject::kDuplicate) count_of(actor_id, "rejected");
  }
  newest_version_ = ack.newest_version;
  newest_digest_ = ack.newest_digest;
  ack.reason = wire_text(std::move(ack.reason));
  const std::string what = fmt::format("{} ({})", name_of(ack.reject), ack.reason);
  if (ack.reject == Reject::kBadChecksum) {
    // Not kept as the request's answer: it is sent again, under the same number.
    answer(message, message_of(MessageType::kAck, ack));
    return blame(message, Quarantine::Fault::kDamage, what);
  }
  if (seeded_bug("server.drop_ack") && ack.slot % 16 == 5) return;
  answer_peer(peer, message, message_of(MessageType::kAck, ack));
  failpoint("learner.after_ack");
  // Last: it may forget the peer.
  if (is_senders_fault(ack.reject)) blame(message, Quarantine::Fault::kContent, what);
}

void FleetServer::Impl::take_record(const std::string& actor_id, Peer& peer, const WireMessage& message) {
  failpoint("learner.after_receive");
  count("records");
  count_of(actor_id, "records");
  Ack ack;
  // The checksums travel with the record: its validator compares them, and the log keeps them.
  EncodedRecord record{message.body, message.data, message.body_crc32c, message.data_crc32c};
  if (guarded(&message, [&] { ack = handler.on_record(actor_id, std::move(record)); }))
    acknowledge(actor_id, peer, message, std::move(ack));
}

void FleetServer::Impl::take_evaluation(const std::string& actor_id, Peer& peer, const WireMessage& message) {
  count("evaluations");
  EvaluationResult result;
  if (!read(message, result)) return;
  if (crc32c(message.data.view) != message.data_crc32c)
    return complain(message, "the data frame's checksum does not fit", Quarantine::Fault::kDamage);
  if (const auto fault = find_table_fault(result.table, message.data.view.size())) return complain(message, *fault);
  result.data = message.data;
  Ack ack;
  if (guarded(&message, [&] { ack = handler.on_evaluation(actor_id, std::move(result)); }))
    acknowledge(actor_id, peer, message, std::move(ack));
}

void FleetServer::Impl::take_ticket_failure(const std::string& actor_id, Peer& peer, const WireMessage& message) {
  TicketFailure failed;
  if (!read(message, failed)) return;
  count("ticket_failures");
  if (!guarded(&message, [&] { handler.on_ticket_failed(actor_id, failed.ticket_id, failed.reason); })) return;
  answer_peer(peer, message, message_of(MessageType::kNoted, Notice{}));
}

// Not kept as the peer's last answer: asking again costs less than holding the states.
void FleetServer::Impl::give_states(const WireMessage& message) {
  StatesRequest request;
  if (!read(message, request)) return;
  std::optional<SlotStates> states;
  if (!guarded(&message, [&] { states = handler.on_get_states(request.slot); })) return;
  count(states ? "states" : "states_missing");
  if (!states)
    return answer(message, message_of(MessageType::kNoStates, Notice{fmt::format("slot {} is not to be relabelled", request.slot)}));
  WireMessage reply = message_of(MessageType::kStates, *states);
  reply.data = states->data;
  reply.data_crc32c = crc32c(states->data.view);
  answer(message, std::move(reply));
}

void FleetServer::Impl::take_heartbeat(const std::string& actor_id, const WireMessage& message) {
  Heartbeat heartbeat;
  if (!read(message, heartbeat)) return;
  for (const auto& [stage, seconds] : heartbeat.stage_seconds) {
    if (!std::isfinite(seconds)) return complain(message, "the field 'stage_seconds' is not finite");
  }
  count("heartbeats");
  heartbeat.actor_id = actor_id;
  guarded(nullptr, [&] { handler.on_heartbeat(heartbeat); });
  answer(message, message_of(MessageType::kAlive, Alive{newest_version_, newest_digest_}));
}

void FleetServer::Impl::serve_peer(const std::string& actor_id, Peer& peer, const WireMessage& message) {
  peer.last_heard = Clock::now();
  if (message.request != 0 && message.request == peer.last_request && peer.last_answer) {
    count("repeated_answers");
    return answer(message, *peer.last_answer);
  }
  switch (message.type) {
    case MessageType::kTicketRequest:
      return order(actor_id, peer, message);
    case MessageType::kRecord:
      return take_record(actor_id, peer, message);
    case MessageType::kEvaluation:
      return take_evaluation(actor_id, peer, message);
    case MessageType::kTicketFailure:
      return take_ticket_failure(actor_id, peer, message);
    case MessageType::kStatesRequest:
      return give_states(message);
    case MessageType::kHeartbeat:
      return take_heartbeat(actor_id, message);
    case MessageType::kGoodbye:
      return forget(actor_id, kSaidGoodbye);
    default:
      return complain(message, "this type of message does not belong on this socket");
  }
}

void FleetServer::Impl::serve_control(const WireMessage& message) {
  count("bytes_in", static_cast<std::int64_t>(message.body.view.size() + message.data.view.size()));
  if (message.type == MessageType::kHello) return greet(message);
  const auto actor = actor_of_.find(message.peer);
  if (actor == actor_of_.end()) {
    count("unknown_peer");
    if (message.type == MessageType::kGoodbye) return;
    return answer(message, message_of(MessageType::kSayHello, Notice{"the learner does not know this connection; say hello"}));
  }
  // The id is copied: serving a goodbye removes the entry it stands in.
  const std::string actor_id = actor->second;
  serve_peer(actor_id, peers_.at(actor_id), message);
}

void FleetServer::Impl::serve_weights(const WireMessage& message) {
  SnapshotRequest request;
  const bool whole = crc32c(message.body.view) == message.body_crc32c;
  if (!whole || message.type != MessageType::kSnapshotRequest || !decode(message.body.view, request).ok) {
    count("malformed");
    return blame(message, whole ? Quarantine::Fault::kContent : Quarantine::Fault::kDamage, "no request for weights");
  }
  std::optional<Snapshot> snapshot;
  WireMessage reply;
  if (!guarded(nullptr, [&] { snapshot = handler.on_get_snapshot(request.version); })) snapshot.reset();
  if (snapshot) {
    count("snapshots");
    reply = message_of(MessageType::kSnapshot, *snapshot);
    reply.data = snapshot->data;
    reply.data_crc32c = snapshot->data_crc32c != 0 ? snapshot->data_crc32c : crc32c(snapshot->data.view);
  } else {
    count("snapshots_missing");
    reply = message_of(MessageType::kNoSnapshot, Notice{fmt::format("the learner does not hold weight version {}", request.version)});
  }
  reply.peer = message.peer;
  reply.request = message.request;
  weights.send(reply);
}

void FleetServer::Impl::forget(const std::string& actor_id, const std::string& why) {
  const auto found = peers_.find(actor_id);
  if (found == peers_.end()) return;
  const std::string id = actor_id;
  actor_of_.erase(found->second.routing);
  peers_.erase(found);
  count("actors_gone");
  guarded(nullptr, [&] { handler.on_actor_gone(id, why); });
}

void FleetServer::Impl::forget_silent(Clock::time_point now) {
  const auto allowed = options.heartbeat_interval * options.liveness;
  std::vector<std::string> silent;
  for (const auto& [actor_id, peer] : peers_) {
    if (now - peer.last_heard > allowed) silent.push_back(actor_id);
  }
  for (const std::string& actor_id : silent) forget(actor_id, fmt::format("not heard of for {} ms", allowed.count()));
}

void FleetServer::Impl::say_run_over() {
  for (const auto& [actor_id, peer] : peers_) {
    WireMessage message = message_of(MessageType::kRunOver, Notice{"the run is finished"});
    message.peer = peer.routing;
    control.send(message);
  }
}

// Whether a message is looked at: its sender's key must still be in the allow-list, and it must not be turned away. Where its key is, it is told so when it
// says hello.
bool FleetServer::Impl::is_welcome(const WireMessage& message, Received received) {
  if (!gate_.lets_in(message)) {
    count("keys_revoked_messages");
    return false;
  }
  const auto verdict = gate_.judge(source_of(message));
  const bool says_hello = received == Received::kMessage && message.type == MessageType::kHello;
  if (verdict == Gatekeeper::Verdict::kHeard || (verdict == Gatekeeper::Verdict::kKeyTurnedAway && says_hello)) return true;
  count("quarantined_messages");
  gate_.note_unheard(message);
  return false;
}

void FleetServer::Impl::take_all(WireSocket& socket, void (Impl::*serve_one)(const WireMessage&)) {
  WireMessage message;
  for (int i = 0; i < kMaxBurst; ++i) {
    const Received received = socket.receive(message);
    if (received == Received::kNothing) break;
    if (!is_welcome(message, received)) continue;
    if (received == Received::kMessage) {
      guarded(nullptr, [&] { (this->*serve_one)(message); });
    } else {
      count("malformed");
      blame(message, received == Received::kDamaged ? Quarantine::Fault::kDamage : Quarantine::Fault::kContent,
            "no message of this protocol");
    }
  }
}

// Tells those whose keys went, at once; their connections end a moment later, so that they hear it.
void FleetServer::Impl::turn_out_revoked() {
  std::vector<std::string> revoked;
  for (const auto& [actor_id, peer] : peers_) {
    if (!gate_.allows(peer.key)) revoked.push_back(actor_id);
  }
  for (const std::string& actor_id : revoked) {
    WireMessage question;
    question.peer = peers_.at(actor_id).routing;
    refuse(question, fmt::format("the key {}... is no longer in the learner's allow-list", fingerprint_of(peers_.at(actor_id).key)));
    count("keys_revoked");
    forget(actor_id, "its key was revoked");
  }
}

void FleetServer::Impl::make_round(Clock::time_point now) {
  const Gatekeeper::Round round = gate_.make_round(now);
  if (round.keys_refused > 0) count("keys_refused", round.keys_refused);
  if (round.storms > 0) count("connection_storms", round.storms);
  if (round.flooding_connections > 0) count("flooding_connections", round.flooding_connections);
  if (round.keys_changed) turn_out_revoked();
}

void FleetServer::Impl::serve() {
  auto next_tick = Clock::now();
  auto last_turn = next_tick;
  std::vector<void*> sockets = gate_.handles();
  sockets.push_back(control.handle());
  sockets.push_back(weights.handle());
  while (!stopping) {
    wait_readable(sockets, &wake_up, std::min(tick_interval(), gate_.interval()));
    wake_up.clear();
    guarded(nullptr, [&] { make_round(Clock::now()); });
    take_all(control, &Impl::serve_control);
    take_all(weights, &Impl::serve_weights);
    const auto now = Clock::now();
    // After a pause of this process nobody was heard, and nobody is to blame.
    if (now - last_turn > options.heartbeat_interval) {
      for (auto& [actor_id, peer] : peers_) peer.last_heard += now - last_turn;
    }
    last_turn = now;
    if (now < next_tick) continue;
    next_tick = now + tick_interval();
    forget_silent(now);
    guarded(nullptr, [&] { handler.on_tick(); });
  }
  if (finished) say_run_over();
}

void FleetServer::Impl::stop() {
  stopping = true;
  wake_up.signal();
  if (thread.joinable()) thread.join();
  control.set_linger(milliseconds(500));
}

FleetServer::FleetServer(const FleetServerOptions& options, FleetHandler& handler) : impl_(std::make_unique<Impl>(options, handler)) {}

FleetServer::~FleetServer() { impl_->stop(); }

void FleetServer::start() {
  impl_->thread = std::thread([this] { impl_->serve(); });
}

void FleetServer::finish() { impl_->finished = true; }

const std::string& FleetServer::control_endpoint() const { return impl_->control_endpoint; }

const std::string& FleetServer::weights_endpoint() const { return impl_->weights_endpoint; }

std::map<std::string, std::int64_t> FleetServer::counters() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

std::exception_ptr FleetServer::failure() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->first_failure;
}

}  // namespace nabla
