#pragma once

#include "common/crc32c.h"
#include "protocol/codec.h"
#include "protocol/wire_socket.h"

namespace nabla {

// A message without a data frame. data_error as of encode().
template <class Message>
WireMessage message_of(MessageType type, const Message& content) {
  WireMessage message;
  message.type = type;
  message.body = encode(content);
  message.body_crc32c = crc32c(message.body.view);
  return message;
}

}  // namespace nabla
