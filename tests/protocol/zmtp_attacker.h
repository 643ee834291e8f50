#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nabla {

// A peer that speaks the library's own protocol (ZMTP 3.0) byte by byte, as far as it wants to.
class ZmtpAttacker {
 public:
  // "tcp://127.0.0.1:PORT"; `from` is an address of this machine. A refused connection is an error, one that does not come in time is_connected() tells.
  explicit ZmtpAttacker(const std::string& endpoint, const char* from = "127.0.0.1",
                        std::chrono::milliseconds patience = std::chrono::seconds(5))
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::inet_addr(from);
    const timeval time{patience.count() / 1000, (patience.count() % 1000) * 1000};
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    const int late = 1;  // the port is chosen when it connects, so that one is free for each far end
    ::setsockopt(socket_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
    ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    if (!is_connected_ && errno != EINPROGRESS && errno != EAGAIN) throw std::runtime_error("cannot connect to " + endpoint);
  }
  ~ZmtpAttacker() { ::close(socket_); }
  ZmtpAttacker(const ZmtpAttacker&) = delete;
  ZmtpAttacker& operator=(const ZmtpAttacker&) = delete;

  bool is_connected() const { return is_connected_; }

  // How a connection starts: signature, version, mechanism.
  static std::string greeting(std::string_view mechanism) {
    constexpr std::string_view kHead("\xFF\0\0\0\0\0\0\0\1\x7F\3\0", 12);
    std::string bytes(64, '\0');
    std::ranges::copy(kHead, bytes.begin());
    std::ranges::copy(mechanism, bytes.begin() + kHead.size());
    return bytes;
  }
  // A frame of 2^32 bytes and more has its length in 8 bytes.
  static std::string frame(char flags, std::uint64_t size) {
    std::string head(1, static_cast<char>(flags | 2));
    for (int i = 7; i >= 0; --i) head += static_cast<char>(size >> (8 * i));
    return head;
  }
  static std::string ready() {
    const std::string body("\5READY\13Socket-Type\0\0\0\6DEALER\10Identity\0\0\0\0", 6 + 12 + 10 + 9 + 4);
    std::string command(1, '\4');
    command += static_cast<char>(body.size());
    return command + body;
  }

  // Sends all, or as much as the other side takes until it ends the connection or the time is over; bytes sent.
  std::size_t send(std::string_view bytes, std::chrono::milliseconds patience = std::chrono::seconds(5)) {
    timeval time{patience.count() / 1000, (patience.count() % 1000) * 1000};
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::send(socket_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (count <= 0) break;
      done += static_cast<std::size_t>(count);
    }
    return done;
  }
  // Waits for so many bytes of the other side; false if it ends the connection before.
  bool receive(std::size_t count) {
    char bytes[256];
    for (ssize_t got = 0; count > 0; count -= static_cast<std::size_t>(got)) {
      got = ::recv(socket_, bytes, std::min(count, sizeof bytes), 0);
      if (got <= 0) return false;
    }
    return true;
  }
  // True once the other side has ended the connection; false if it has not within the time.
  bool is_ended(std::chrono::milliseconds patience) {
    timeval time{patience.count() / 1000, (patience.count() % 1000) * 1000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    char bytes[4096];
    while (true) {
      const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
      if (count > 0) continue;
      return count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    }
  }

 private:
  int socket_;
  bool is_connected_ = false;
};

}  // namespace nabla
