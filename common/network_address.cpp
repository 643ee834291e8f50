#include "common/network_address.h"

#include <arpa/inet.h>

namespace nabla {

bool is_loopback(const std::string& address) {
  constexpr std::size_t kScheme = 6;
  const std::size_t first = address.starts_with("tcp://") ? kScheme : 0;
  const std::string host = address.substr(first, address.rfind(':') - first);
  if (host == "localhost" || host == "[::1]") return true;
  in_addr number{};
  return ::inet_pton(AF_INET, host.c_str(), &number) == 1 && ntohl(number.s_addr) >> 24 == 127;
}

}  // namespace nabla
