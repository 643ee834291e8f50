#include "protocol/fleet_client.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "protocol/learner_answer.h"
#include "protocol/wire_message.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

namespace nabla {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How long the caller of next_work() rests before it asks again.
constexpr milliseconds kAskAgain{25};
constexpr int kMaxUnreadable = 3;
// How long a learner may refuse the handshake: a key may be on its way to the allow-list.
constexpr milliseconds kHandshakePatience{5000}, kHandshakeAgain{500};

// What the caller waits for.
struct Request {
  WireMessage message;
  bool to_weights = false;
  std::string what;  // for messages: "the acknowledgement of slot 7"
  bool sent = false;
  Clock::time_point sent_at;
  int times_unreadable = 0, times_damaged = 0;
  std::optional<WireMessage> answer;
};

std::string delivery_of(std::uint64_t ticket_id, std::int64_t slot) {
  return fmt::format("the acknowledgement of slot {} (ticket {})", slot, ticket_id);
}

}  // namespace

struct FleetClient::Impl {
  Impl(const FleetClientOptions& client_options, std::stop_token token);
  ~Impl() { leave(); }

  // Sends a message; the answers are had from finish(), in the order of the calls.
  void start(WireMessage message, std::string what, bool to_weights = false);
  // Blocks until the oldest message is answered. Nothing: the run is over.
  std::optional<WireMessage> finish();
  std::optional<WireMessage> call(WireMessage message, std::string what, bool to_weights = false);
  // No answer is waited for any more.
  void abandon();
  bool rest(milliseconds time);
  void leave();
  void set_progress(const Heartbeat& heartbeat);

 private:
  void on_stop();
  bool stopped();
  milliseconds turn_interval() const { return std::clamp(options_.heartbeat_interval / 5, milliseconds(1), milliseconds(100)); }
  void serve();
  void take_turn(milliseconds timeout);
  void receive_all(WireSocket& socket);
  void take(const WireMessage& message);
  void take_welcome(const WireMessage& message);
  void take_unreadable(const WireMessage& message);
  void take_damaged(const WireMessage& message);
  void take_ack(const WireMessage& message);
  void send_again(Request& request, const std::string& why);
  void deliver(const WireMessage& message);
  Request* unanswered(std::uint64_t number);
  bool waits_for_welcome() const { return !requests_.empty() && requests_.front().message.type == MessageType::kHello; }
  void keep_link(Clock::time_point now);
  void keep_weights(Clock::time_point now);
  void watch_handshake(Clock::time_point now);
  void open_link(Clock::time_point now);
  void close_link();
  void forget_link();
  void reopen_after(milliseconds pause, Clock::time_point now);
  void send_hello();
  void send_requests(Clock::time_point now);
  void send_heartbeat(Clock::time_point now);
  void say_goodbye();
  void give_up(Error error);
  milliseconds patience() const { return ever_welcome_ ? options_.reconnect_deadline : options_.connect_deadline; }

  const FleetClientOptions options_;
  std::string endpoint_ = options_.control_endpoint;  // guarded by turn_mutex_
  WireContext context_;
  WakeUp wake_up_;

  std::mutex mutex_;  // never held while a socket is used
  std::condition_variable changed_;
  // Guarded by mutex_.
  bool stopped_ = false, leaving_ = false;
  Heartbeat progress_;
  bool stage_changed_ = false;  // tell at once

  // Who holds it takes turns at the sockets: a caller while it waits for its answer, so that no other thread stands between it and the socket;
  // the client's thread in between.
  std::mutex turn_mutex_;
  // Guarded by turn_mutex_, as all that follow.
  bool run_over_ = false;
  std::optional<Error> fatal_;
  std::deque<Request> requests_;      // oldest first
  std::optional<WireMessage> hello_;  // the last one said; said again after a reconnect
  std::uint64_t last_request_ = 0;
  std::unique_ptr<WireSocket> control_, weights_;
  std::string weights_endpoint_;
  std::unique_ptr<HandshakeWatch> watch_, weights_watch_;  // of control_ and weights_
  std::uint64_t weights_bytes_ = 0;                        // that it has brought
  Clock::time_point weights_heard_at_;                     // when it brought some, or was asked
  HandshakeWatch::Outcome handshake_ = HandshakeWatch::Outcome::kNone;
  Clock::time_point refused_since_;  // while handshake_ is a refusal
  bool hello_sent_ = false, welcome_ = false, ever_welcome_ = false, forgotten_ = false;
  std::string run_id_;
  Clock::time_point opened_at_, heard_at_, reopen_at_, heartbeat_at_, last_turn_;
  bool waiting_to_reopen_ = false;
  std::minstd_rand jitter_{std::random_device{}()};

  // Destroyed before what their threads use: first the callback, then the thread (joined by leave()).
  std::thread thread_;
  std::stop_callback<std::function<void()>> stop_callback_;
};

FleetClient::Impl::Impl(const FleetClientOptions& client_options, std::stop_token token)
    : options_(client_options), stop_callback_(std::move(token), [this] { on_stop(); }) {
  thread_ = std::thread([this] { serve(); });
}

void FleetClient::Impl::on_stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  wake_up_.signal();
}

bool FleetClient::Impl::stopped() {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

void FleetClient::Impl::start(WireMessage message, std::string what, bool to_weights) {
  const std::lock_guard turn(turn_mutex_);
  message.request = ++last_request_;
  if (message.type == MessageType::kHello) hello_ = message;
  requests_.push_back({std::move(message), to_weights, std::move(what), false, {}, 0, 0, std::nullopt});
  take_turn(milliseconds(0));
}

std::optional<WireMessage> FleetClient::Impl::finish() {
  const std::lock_guard turn(turn_mutex_);
  Request& oldest = requests_.front();
  while (!oldest.answer && !fatal_ && !run_over_ && !stopped()) take_turn(turn_interval());
  const Request request = std::move(oldest);
  requests_.pop_front();
  if (request.answer) return request.answer;
  if (run_over_) return std::nullopt;
  requests_.clear();
  if (fatal_) throw *fatal_;
  throw failure("[actor] stopped while waiting for {}", request.what);
}

std::optional<WireMessage> FleetClient::Impl::call(WireMessage message, std::string what, bool to_weights) {
  start(std::move(message), std::move(what), to_weights);
  return finish();
}

void FleetClient::Impl::abandon() {
  const std::lock_guard turn(turn_mutex_);
  requests_.clear();
}

// Waits between two questions; false if stop was requested.
bool FleetClient::Impl::rest(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [&] { return stopped_; });
}

void FleetClient::Impl::leave() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FleetClient::Impl::set_progress(const Heartbeat& heartbeat) {
  const std::lock_guard lock(mutex_);
  stage_changed_ = stage_changed_ || heartbeat.stage != progress_.stage;
  progress_ = heartbeat;
}

void FleetClient::Impl::give_up(Error error) {
  if (!fatal_) fatal_ = std::move(error);
}

Request* FleetClient::Impl::unanswered(std::uint64_t number) {
  const auto found = std::ranges::find_if(requests_, [&](const Request& request) { return request.message.request == number; });
  return found == requests_.end() || found->answer ? nullptr : &*found;
}

void FleetClient::Impl::deliver(const WireMessage& message) {
  if (Request* request = unanswered(message.request)) request->answer = message;
}

void FleetClient::Impl::take_welcome(const WireMessage& message) {
  Welcome welcome;
  const DecodeStatus status = decode(message.body.view, welcome);
  if (!status.ok) return give_up(network_error("[actor] the welcome of the learner at {} {}", endpoint_, status.reason));
  if (ever_welcome_ && welcome.run_id != run_id_) {
    return give_up(network_error("[actor] the learner at {} now serves run {}, this actor works for run {}; start a new actor for it",
                                 endpoint_, welcome.run_id, run_id_));
  }
  run_id_ = welcome.run_id;
  welcome_ = ever_welcome_ = true;
  if (!weights_) {
    weights_ = std::make_unique<WireSocket>(context_, SocketKind::kDealer, options_.max_frame_bytes);
    if (options_.keys) weights_->use_keys(*options_.keys);
    weights_watch_ = std::make_unique<HandshakeWatch>(context_, weights_->handle());
    weights_endpoint_ = reachable(welcome.weights_endpoint, endpoint_);
    weights_->connect(weights_endpoint_);
  }
  deliver(message);
}

// The learner could not read the request: damage on the way is cured by sending it again, anything else is not.
void FleetClient::Impl::take_unreadable(const WireMessage& message) {
  Notice notice;
  decode(message.body.view, notice);
  Request* request = unanswered(message.request);
  if (request == nullptr) return;
  request->sent = false;
  if (++request->times_unreadable < kMaxUnreadable) return;
  give_up(network_error("[actor] the learner at {} cannot read this actor's messages: {}", endpoint_, notice.text));
}

// The request goes out again, and its answer is the one that comes then.
void FleetClient::Impl::send_again(Request& request, const std::string& why) {
  ++request.times_damaged;
  request.sent = false;
  log_warning("[actor] damaged on the way, try {} of {}: {} ({})", request.times_damaged, kMaxDamaged, request.what, why);
}

// Envelopes have a checksum of their own, so it is known what was answered. What is damaged each time, is its reader's to judge.
void FleetClient::Impl::take_damaged(const WireMessage& message) {
  Request* request = unanswered(message.request);
  if (request == nullptr) return;
  send_again(*request, "the answer's CRC32C does not fit");
  if (request->times_damaged >= kMaxDamaged) request->answer = message;
}

// A record that arrived damaged is sent again; after the last time the acknowledgement says so.
void FleetClient::Impl::take_ack(const WireMessage& message) {
  Ack ack;
  Request* request = unanswered(message.request);
  const bool damaged = request != nullptr && decode(message.body.view, ack).ok && ack.reject == Reject::kBadChecksum;
  if (!damaged) return deliver(message);
  send_again(*request, ack.reason);
  if (request->times_damaged >= kMaxDamaged) request->answer = message;
}

void FleetClient::Impl::take(const WireMessage& message) {
  heard_at_ = Clock::now();
  if (is_damaged(message)) return take_damaged(message);
  switch (message.type) {
    case MessageType::kAlive:
      return;
    case MessageType::kWelcome:
      return take_welcome(message);
    case MessageType::kBadMessage:
      return take_unreadable(message);
    case MessageType::kAck:
      return take_ack(message);
    case MessageType::kSayHello:
      // Sent for messages of before the hello too; only one that comes after a welcome means that the learner forgot this connection.
      forgotten_ = forgotten_ || welcome_;
      return;
    case MessageType::kRefusal: {
      Refusal refusal;
      if (!decode(message.body.view, refusal).ok) refusal.reason = "(the reason cannot be read)";
      const auto code = refusal.exit_code >= 1 && refusal.exit_code <= 6 ? static_cast<ExitCode>(refusal.exit_code) : ExitCode::kNetwork;
      return give_up(Error(code, fmt::format("[actor] the learner at {} refused: {}", endpoint_, refusal.reason)));
    }
    case MessageType::kRunOver:
      if (!std::exchange(run_over_, true) && options_.on_run_over) options_.on_run_over();
      return;
    default:
      return deliver(message);
  }
}

void FleetClient::Impl::receive_all(WireSocket& socket) {
  WireMessage message;
  for (Received received = socket.receive(message); received != Received::kNothing; received = socket.receive(message)) {
    if (received == Received::kMessage) take(message);
  }
}

void FleetClient::Impl::open_link(Clock::time_point now) {
  // Not the first time: whoever made this client has just looked.
  if (std::exchange(waiting_to_reopen_, false) && options_.look_up) {
    if (std::string found = options_.look_up(); !found.empty()) endpoint_ = std::move(found);
  }
  control_ = std::make_unique<WireSocket>(context_, SocketKind::kDealer, options_.max_frame_bytes);
  if (options_.keys) control_->use_keys(*options_.keys);
  watch_ = std::make_unique<HandshakeWatch>(context_, control_->handle());
  control_->connect(endpoint_);
  opened_at_ = now;
}

// ZeroMQ's own reconnect does not say hello, so a silent connection is closed and opened anew.
void FleetClient::Impl::close_link() {
  watch_.reset();
  control_.reset();
  forget_link();
}

// What was asked before the next hello is asked again after it, weights by another socket: where they are served is said by the next welcome.
void FleetClient::Impl::forget_link() {
  weights_watch_.reset();
  weights_.reset();
  hello_sent_ = welcome_ = forgotten_ = false;
  for (Request& request : requests_) request.sent = false;
}

// Notes what the handshakes come to, and gives up when the other side keeps refusing them. One that broke off may have been cut by the network, so it only
// helps to say why the learner was not reached.
void FleetClient::Impl::watch_handshake(Clock::time_point now) {
  using enum HandshakeWatch::Outcome;
  if (!watch_) return;
  // Always: events that nobody takes would hold the library up in the end.
  const auto outcome = watch_->take();
  if (welcome_) return;
  if (outcome == kSucceeded) handshake_ = kNone;
  if (outcome == kOtherMechanism || outcome == kKeyRefused) {
    if (handshake_ != kOtherMechanism && handshake_ != kKeyRefused) {
      refused_since_ = now;
      log_warning("[actor] {}; trying again for {} s", handshake_fault_of(outcome, options_, endpoint_), kHandshakePatience.count() / 1000);
    }
    handshake_ = outcome;
  }
  // The library does not try again by itself.
  if (outcome == kOtherMechanism || outcome == kKeyRefused) reopen_after(std::min(kHandshakeAgain, options_.heartbeat_interval), now);
  if (outcome == kBrokenOff && handshake_ == kNone) handshake_ = outcome;
  const bool refused = handshake_ == kOtherMechanism || handshake_ == kKeyRefused;
  if (refused && now - refused_since_ > std::min(patience(), kHandshakePatience))
    give_up(network_error("[actor] {}", handshake_fault_of(handshake_, options_, endpoint_)));
}

void FleetClient::Impl::keep_link(Clock::time_point now) {
  if (!hello_ || fatal_) return;
  if (heard_at_ == Clock::time_point{}) heard_at_ = now;
  if (now - heard_at_ > patience()) {
    const std::string what = requests_.empty() ? "its next order" : requests_.front().what;
    const std::string why =
        handshake_ == HandshakeWatch::Outcome::kNone ? "is it running?" : handshake_fault_of(handshake_, options_, endpoint_);
    return give_up(network_error("[actor] no word from the learner at {} for {:.1f} s while this actor waited for {}; {}", endpoint_,
                                 std::chrono::duration<double>(now - heard_at_).count(), what, why));
  }
  if (!control_) {
    if (!waiting_to_reopen_ || now >= reopen_at_) open_link(now);
    return;
  }
  if (now - std::max(heard_at_, opened_at_) <= options_.heartbeat_interval * options_.liveness) return;
  // Never longer, so that everybody is back soon after an outage of any length; and of each client another, so that those who lost the learner at once do
  // not return at once.
  const int percent = std::uniform_int_distribution<>(25, 125)(jitter_);
  reopen_after(options_.heartbeat_interval * percent / 100, now);
}

// Weights have a socket of their own, which the words of the other one say nothing about: whatever keeps its bytes away, such as a port that is not
// open, ends a request after a while. A slow transfer is none of that.
void FleetClient::Impl::keep_weights(Clock::time_point now) {
  if (!weights_watch_) return;
  weights_watch_->take();
  if (const auto bytes = weights_watch_->bytes_received(); bytes != weights_bytes_) {
    weights_bytes_ = bytes;
    weights_heard_at_ = now;
  }
  const auto waits = [](const Request& request) { return request.to_weights && request.sent && !request.answer; };
  const auto waiting = std::ranges::find_if(requests_, waits);
  if (waiting == requests_.end() || now - weights_heard_at_ <= options_.reconnect_deadline) return;
  give_up(network_error(
      "[actor] the learner's weights address {} sends nothing, although its control address {} answers; for {:.1f} s this actor "
      "waited for {}. Both ports must be reachable from here: name the second with fleet.weights_port and open it in the firewall",
      weights_endpoint_, endpoint_, std::chrono::duration<double>(now - weights_heard_at_).count(), waiting->what));
}

void FleetClient::Impl::reopen_after(milliseconds pause, Clock::time_point now) {
  close_link();
  waiting_to_reopen_ = true;
  reopen_at_ = now + pause;
}

void FleetClient::Impl::send_hello() {
  if (!hello_) return;
  if (waits_for_welcome()) {
    requests_.front().sent = true;
    requests_.front().sent_at = Clock::now();
  }
  hello_sent_ = control_->send(*hello_);
}

void FleetClient::Impl::send_requests(Clock::time_point now) {
  for (Request& request : requests_) {
    // An answer that does not come although the learner lives was lost; the learner knows a request it has answered.
    const auto since = request.to_weights ? std::max(request.sent_at, weights_heard_at_) : request.sent_at;
    const bool lost = now - since > options_.heartbeat_interval * 10;
    if (request.answer || (request.sent && !lost)) continue;
    request.sent_at = now;
    WireSocket* socket = request.to_weights ? weights_.get() : control_.get();
    const bool again = std::exchange(request.sent, socket != nullptr && socket->send(request.message));
    if (request.to_weights && request.sent && !again) weights_heard_at_ = now;
  }
}

void FleetClient::Impl::send_heartbeat(Clock::time_point now) {
  if (!options_.heartbeats) return;
  Heartbeat heartbeat;
  {
    const std::lock_guard lock(mutex_);
    if (now < heartbeat_at_ && !stage_changed_) return;
    stage_changed_ = false;
    heartbeat = progress_;
  }
  heartbeat_at_ = now + options_.heartbeat_interval;
  heartbeat.actor_id = options_.actor_id;
  control_->send(message_of(MessageType::kHeartbeat, heartbeat));
}

void FleetClient::Impl::say_goodbye() {
  if (!control_) return;
  control_->set_linger(milliseconds(200));
  if (welcome_) control_->send(message_of(MessageType::kGoodbye, Notice{}));
  weights_watch_.reset();
  weights_.reset();
  watch_.reset();
  control_.reset();
}

// Reads what has arrived within the time, looks after the connection and sends what is due.
void FleetClient::Impl::take_turn(milliseconds timeout) try {
  wait_readable(control_.get(), weights_.get(), &wake_up_, timeout);
  wake_up_.clear();
  // First what has arrived, then judgement: after a pause of this process the answers are here already.
  if (weights_) receive_all(*weights_);
  if (control_) receive_all(*control_);
  if (forgotten_) forget_link();
  const auto now = Clock::now();
  if (now - last_turn_ > options_.heartbeat_interval && heard_at_ != Clock::time_point{}) {
    heard_at_ += now - last_turn_;
    weights_heard_at_ += now - last_turn_;
  }
  last_turn_ = now;
  watch_handshake(now);
  keep_link(now);
  keep_weights(now);
  // Who has given up says nothing more: another hello would take the id back from the process that took it over.
  if (!control_ || fatal_) return;
  if (!hello_sent_) send_hello();
  // The heartbeat first: what a delivery cost is known before it arrives.
  if (welcome_) send_heartbeat(now);
  if (welcome_ || waits_for_welcome()) send_requests(now);
} catch (const Error& error) {
  give_up(error);
} catch (const std::exception& error) {
  give_up(failure("[actor] the connection failed: {}", error.what()));
}

void FleetClient::Impl::serve() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, turn_interval(), [&] { return leaving_; })) break;
    }
    const std::lock_guard turn(turn_mutex_);
    take_turn(milliseconds(0));
  }
  const std::lock_guard turn(turn_mutex_);
  say_goodbye();
}

FleetClient::FleetClient(const FleetClientOptions& options, std::stop_token stop)
    : impl_(std::make_unique<Impl>(options, std::move(stop))) {}

FleetClient::~FleetClient() = default;

Welcome FleetClient::connect(const Hello& hello) {
  const std::string what = "the welcome";
  const auto answer = impl_->call(message_of(MessageType::kHello, hello), what);
  if (!answer) throw network_error("[actor] the run is over");
  return content_of<Welcome>(*answer, MessageType::kWelcome, what);
}

Work FleetClient::next_work(const std::stop_token& leave) {
  const std::string what = "a ticket";
  while (true) {
    const auto answer = impl_->call(message_of(MessageType::kTicketRequest, Notice{}), what);
    if (!answer) return Work{WorkState::kFinished, std::nullopt, "", 0};
    Work work = content_of<Work>(*answer, MessageType::kWork, what);
    if (work.state == WorkState::kTicket && !work.ticket) throw network_error("[actor] the learner promised a ticket and sent none");
    if (work.state != WorkState::kWait || leave.stop_requested()) return work;
    if (!impl_->rest(kAskAgain)) throw failure("[actor] stopped while waiting for a ticket (the learner says: {})", work.wait_reason);
  }
}

void FleetClient::start_record(const EncodedRecord& record, std::uint64_t ticket_id, std::int64_t slot) {
  WireMessage message;
  message.type = MessageType::kRecord;
  message.body = record.header;
  message.data = record.data;
  message.body_crc32c = record.header_crc32c;
  message.data_crc32c = record.data_crc32c;
  impl_->start(std::move(message), delivery_of(ticket_id, slot));
}

Ack FleetClient::finish_record(std::uint64_t ticket_id, std::int64_t slot) {
  const auto answer = impl_->finish();
  if (answer) return content_of<Ack>(*answer, MessageType::kAck, delivery_of(ticket_id, slot));
  return Ack{ticket_id, slot, Reject::kDuplicate, "the run is over", 0, ""};
}

Ack FleetClient::send_record(const EncodedRecord& record, std::uint64_t ticket_id, std::int64_t slot) {
  start_record(record, ticket_id, slot);
  return finish_record(ticket_id, slot);
}

std::vector<Ack> FleetClient::send_records(std::uint64_t ticket_id, const std::vector<std::int64_t>& slots,
                                           const std::function<EncodedRecord(std::size_t)>& make) try {
  std::vector<Ack> acks;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    start_record(make(i), ticket_id, slots[i]);
    if (i > 0) acks.push_back(finish_record(ticket_id, slots[i - 1]));
  }
  if (!slots.empty()) acks.push_back(finish_record(ticket_id, slots.back()));
  return acks;
} catch (...) {
  impl_->abandon();
  throw;
}

Ack FleetClient::send_evaluation(const EvaluationResult& result) {
  WireMessage message = message_of(MessageType::kEvaluation, result);
  message.data = result.data;
  message.data_crc32c = crc32c(result.data.view);
  const std::string what = fmt::format("the acknowledgement of evaluation ticket {}", result.ticket_id);
  const auto answer = impl_->call(std::move(message), what);
  if (answer) return content_of<Ack>(*answer, MessageType::kAck, what);
  return Ack{result.ticket_id, 0, Reject::kDuplicate, "the run is over", 0, ""};
}

void FleetClient::fail_ticket(std::uint64_t ticket_id, const std::string& reason) {
  impl_->call(message_of(MessageType::kTicketFailure, TicketFailure{ticket_id, wire_text(reason)}),
              fmt::format("the return of ticket {}", ticket_id));
}

Snapshot FleetClient::get_snapshot(std::int64_t version) {
  const std::string what = fmt::format("weight version {}", version);
  const auto answer = impl_->call(message_of(MessageType::kSnapshotRequest, SnapshotRequest{version}), what, true);
  if (!answer) throw failure("[actor] the run is over; weight version {} is not needed any more", version);
  if (answer->type == MessageType::kNoSnapshot) throw failure("[actor] the learner does not hold weight version {} any more", version);
  failpoint("actor.mid_pull");
  Snapshot snapshot = content_of<Snapshot>(*answer, MessageType::kSnapshot, what, kSnapshotLimits);
  if (snapshot.version != version)
    throw network_error("[actor] asked for weight version {}, the learner sent {}", version, snapshot.version);
  if (const auto fault = find_table_fault(snapshot.table, answer->data.view.size()))
    throw network_error("[actor] weight version {}: {}", version, *fault);
  snapshot.data = answer->data;
  snapshot.data_crc32c = answer->data_crc32c;
  return snapshot;
}

SlotStates FleetClient::get_states(std::int64_t slot) {
  const std::string what = fmt::format("the states of slot {}", slot);
  const auto answer = impl_->call(message_of(MessageType::kStatesRequest, StatesRequest{slot}), what);
  if (!answer) throw failure("[actor] the run is over; {} are not needed any more", what);
  if (answer->type == MessageType::kNoStates) throw failure("[actor] the learner does not want slot {} relabelled any more", slot);
  SlotStates states = content_of<SlotStates>(*answer, MessageType::kStates, what);
  if (states.slot != slot) throw network_error("[actor] asked for {}, the learner sent those of slot {}", what, states.slot);
  if (const auto fault = find_table_fault(states.table, answer->data.view.size())) throw network_error("[actor] {}: {}", what, *fault);
  states.data = answer->data;
  return states;
}

void FleetClient::set_progress(const Heartbeat& progress) { impl_->set_progress(progress); }

void FleetClient::leave() { impl_->leave(); }

}  // namespace nabla
