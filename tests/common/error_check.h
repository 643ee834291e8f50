#pragma once

#include "common/error.h"
#include "tests/testing.h"

#include <string>

namespace nabla {

// Runs `call`, which must throw an Error of that code whose message holds every part.
template <class Call, class... Parts>
void check_error(ExitCode code, Call&& call, const Parts&... parts) {
  try {
    call();
    FAIL_CHECK("no error was thrown");
  } catch (const Error& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(static_cast<int>(error.code()) == static_cast<int>(code));
    for (const std::string& part : {std::string(parts)..., std::string()}) {
      INFO("expected: ", part);
      CHECK(message.find(part) != std::string::npos);
    }
  }
}

}  // namespace nabla
