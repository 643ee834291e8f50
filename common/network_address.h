#pragma once

#include <string>

namespace nabla {

// Of "<host>:<port>", with or without "tcp://", the host a name, an IPv4 address, or an IPv6 one in brackets: whether only this machine can connect there.
bool is_loopback(const std::string& address);

}  // namespace nabla
