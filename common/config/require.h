#pragma once

#include "common/error.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// Checks of configuration values; each throws usage_error naming key and value and saying what was expected.

template <class... Args>
void require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw usage_error("[config] {}", fmt::format(format, std::forward<Args>(args)...));
}

// Names the nearest of the allowed too.
void require_one_of(const char* key, const std::string& value, const std::vector<std::string>& allowed);
void require_at_least(const char* key, double value, double least);
void require_between(const char* key, std::int64_t value, std::int64_t least, std::int64_t most);
void require_positive(const char* key, double value);
void require_share(const char* key, double value);
// cpu, cuda or cuda:<number>.
void require_device(const char* key, const std::string& device);
// One component of a path: what is made of it stays where it belongs.
void require_file_name(const char* key, const std::string& name);
// ipc, or tcp on an address with a port.
void require_bind_address(const std::string& bind);
// Whether only this machine can connect there.
bool is_loopback_bind(const std::string& bind);
// Empty, or <address>:<port> with the address as numbers: [::1]:0, 127.0.0.1:9464.
void require_http_address(const char* key, const std::string& address);

}  // namespace nabla
