#include "protocol/arrival_gate.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace nabla {

namespace {

// Jumps of a filter reach 255 instructions.
constexpr std::size_t kMaxFriends = 200;
constexpr std::uint32_t kSourceAddress = 12;  // its place in an IPv4 header

sock_filter instruction(std::uint16_t code, std::uint32_t value, std::uint8_t if_true = 0, std::uint8_t if_false = 0) {
  return {code, if_true, if_false, value};
}

// Lets packets from these addresses (in the machine's order) through and no others.
std::vector<sock_filter> filter_for(const std::deque<std::uint32_t>& friends) {
  std::vector<sock_filter> program{instruction(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_NET_OFF) + kSourceAddress)};
  for (std::size_t i = 0; i < friends.size(); ++i)
    program.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, friends[i], static_cast<std::uint8_t>(friends.size() - i)));
  program.push_back(instruction(BPF_RET | BPF_K, 0));
  program.push_back(instruction(BPF_RET | BPF_K, 0xFFFFFFFF));
  return program;
}

}  // namespace

void ArrivalGate::note_friend(const std::string& address) {
  sockaddr_in end{};
  if (address.size() < sizeof end) return;
  std::memcpy(&end, address.data(), sizeof end);
  if (end.sin_family != AF_INET) return;
  const std::uint32_t number = ntohl(end.sin_addr.s_addr);
  if (std::ranges::find(friends_, number) != friends_.end()) return;
  friends_.push_front(number);
  if (friends_.size() > kMaxFriends) friends_.pop_back();
  if (is_closed_) close();
}

bool ArrivalGate::note_arrivals(std::size_t count, Time now) {
  const double since = at_ == Time{} ? 0 : std::chrono::duration<double>(now - at_).count();
  at_ = now;
  level_ = std::min(limits_.burst, level_ + limits_.per_s * since) - static_cast<double>(count);
  if (level_ >= 0 || is_closed_) return false;
  level_ = 0;
  opens_at_ = now + limits_.closed_for;
  is_closed_ = true;
  close();
  return true;
}

void ArrivalGate::make_round(Time now) {
  if (!is_closed_ || now < opens_at_) return;
  is_closed_ = false;
  open();
}

// Where the kernel does not take the filter the door stays open: it is a protection more, not the only one.
void ArrivalGate::close() const {
  std::vector<sock_filter> program = filter_for(friends_);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  for (const int listener : listeners_) ::setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void ArrivalGate::open() const {
  const int unused = 0;
  for (const int listener : listeners_) ::setsockopt(listener, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

}  // namespace nabla
