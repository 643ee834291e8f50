#pragma once

#include "common/crc32c.h"
#include "protocol/codec.h"
#include "protocol/wire_socket.h"
#include "tests/testing.h"

#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// The 32 bytes before a body, each part right or wrong.
struct EnvelopeBytes {
  std::string magic = "NBF1";
  std::uint8_t type = 1, num_frames = 1;
  std::uint16_t reserved = 0;
  std::uint64_t request = 1;
  std::uint32_t body_crc32c = 0, data_crc32c = 0, reserved_too = 0;
  std::uint32_t flip = 0;  // of its own checksum

  std::string text() const {
    std::string bytes = magic;
    const auto add = [&bytes](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    add(type), add(num_frames), add(reserved), add(request), add(body_crc32c), add(data_crc32c), add(reserved_too);
    add(crc32c(std::as_bytes(std::span(bytes))) ^ flip);
    return bytes;
  }
};

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
