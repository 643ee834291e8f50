#pragma once

#include "common/crc32c.h"
#include "protocol/codec.h"
#include "protocol/wire_socket.h"
#include "tests/protocol/envelope_bytes.h"
#include "tests/testing.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// A peer that sends what it likes.
class RawPeer {
 public:
  explicit RawPeer(const std::string& endpoint, const std::optional<ActorKeys>& keys = std::nullopt)
      : socket_(context_, SocketKind::kDealer, std::size_t{1} << 20) {
    if (keys) socket_.use_keys(*keys);
    socket_.connect(endpoint);
  }

  template <class Message>
  void send(MessageType type, const Message& content, std::uint64_t request = 1, std::uint32_t flip = 0) {
    WireMessage message;
    message.type = type;
    message.request = request;
    message.body = encode(content);
    message.body_crc32c = crc32c(message.body.view) ^ flip;
    socket_.send(message);
  }
  void send_raw(const std::vector<std::string>& frames) {
    std::vector<Bytes> bytes;
    for (const auto& frame : frames) bytes.push_back({nullptr, std::as_bytes(std::span(frame))});
    socket_.send_frames(bytes);
  }
  // The next answer of any kind.
  WireMessage receive() {
    WireMessage message;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (socket_.receive(message) != Received::kMessage) {
      REQUIRE(std::chrono::steady_clock::now() < give_up);
      wait_readable(&socket_, nullptr, nullptr, std::chrono::milliseconds(100));
    }
    return message;
  }

 private:
  WireContext context_;
  WireSocket socket_;
};

}  // namespace nabla
