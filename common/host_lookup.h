#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

// Numeric addresses of a host name, as the system's name service has them, IPv4 first. Blocks as long as that takes. network_error with its reason.
std::vector<std::string> look_up_host(const std::string& host);
using HostLookup = std::function<std::vector<std::string>(const std::string& host)>;

// The same with a bound: network_error naming the host when there is no answer within `deadline`, failure once stop is requested. A number is its own
// answer, and nobody is asked. An answer that comes too late is dropped; until then a thread waits for it.
std::vector<std::string> addresses_of_host(const std::string& host, std::chrono::milliseconds deadline, const std::stop_token& stop = {},
                                           const HostLookup& look_up = look_up_host);

// "tcp://<name>:<port>" with the first IPv4 address in the name's place, or the first at all; other addresses stay as they are. Asks again until
// `deadline`, because a name may come after its users; then it is the last network_error.
std::string with_numeric_host(const std::string& address, std::chrono::milliseconds deadline, const std::stop_token& stop = {},
                              const HostLookup& look_up = look_up_host);

}  // namespace nabla
