#pragma once

#include "protocol/allow_list.h"

#include <cstdint>

namespace nabla {

class WireContext;

// Answers the library's questions whether somebody may connect (ZAP, RFC 27): those with a key of the allow-list may, under the public key as their
// name, and nobody else, whatever the mechanism. One a context, there before a socket of it is bound. Used by the thread that serves the sockets: while
// that does something else, connecting waits.
class ZapHandler {
 public:
  explicit ZapHandler(const WireContext& context);
  ~ZapHandler();
  ZapHandler(const ZapHandler&) = delete;
  ZapHandler& operator=(const ZapHandler&) = delete;

  struct Answers {
    std::int64_t let_in = 0, refused = 0;
  };
  // Answers what was asked since the last call.
  Answers answer_all(const AllowList& allowed);
  void* handle() const { return handle_; }

 private:
  void* handle_;
};

}  // namespace nabla
