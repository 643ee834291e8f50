#include "common/config/require.h"

#include "common/nearest.h"
#include "common/network_address.h"

#include <algorithm>
#include <charconv>

namespace nabla {

void require_one_of(const char* key, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  require(allowed.size() > 1, "{} is '{}'; allowed: {}", key, value, comma_list(allowed));
  require(false, "{} is '{}'; did you mean '{}'? Allowed: {}", key, value, nearest(value, allowed), comma_list(allowed));
}

void require_at_least(const char* key, double value, double least) {
  require(value >= least, "{} is {}; at least {} is needed", key, value, least);
}

void require_between(const char* key, std::int64_t value, std::int64_t least, std::int64_t most) {
  require(value >= least && value <= most, "{} is {}; {} to {} is expected", key, value, least, most);
}

void require_positive(const char* key, double value) { require(value > 0, "{} is {}; it must be above 0", key, value); }

void require_share(const char* key, double value) {
  require(value >= 0 && value <= 1, "{} is {}; a share from 0 to 1 is expected", key, value);
}

void require_device(const char* key, const std::string& device) {
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.find_first_not_of("0123456789", 5) == std::string::npos;
  require(device == "cpu" || device == "cuda" || numbered, "{} is '{}'; cpu, cuda or cuda:<number> is expected", key, device);
}

void require_file_name(const char* key, const std::string& name) {
  const bool plain = std::none_of(name.begin(), name.end(), [](unsigned char letter) { return letter == '/' || letter < 0x20; });
  require(plain && !name.empty() && name != "." && name != ".." && name.size() <= 100,
          "{} is '{}'; it names files and folders: 1 to 100 bytes without '/' are expected", key, name);
}

void require_http_address(const char* key, const std::string& address) {
  if (address.empty()) return;
  const std::size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon), port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool is_ip = !host.empty() && host.find_first_not_of("0123456789abcdefABCDEF.:[]") == std::string::npos;
  std::uint16_t number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  require(is_ip && code == std::errc{} && end == port.data() + port.size(),
          "{} is '{}'; <address>:<port> is expected, such as 127.0.0.1:9464 (port 0 picks a free one)", key, address);
}

void require_bind_address(const std::string& bind) {
  if (bind == "ipc") return;
  const std::size_t colon = bind.rfind(':');
  require(bind.starts_with("tcp://") && colon > 6, "fleet.bind is '{}'; ipc or tcp://<address>:<port> is expected", bind);
  const std::string port = bind.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  const bool is_port = port == "*" || (code == std::errc{} && end == port.data() + port.size());
  require(is_port, "fleet.bind is '{}'; '{}' is no port (0 to 65535, or * for a free one)", bind, port);
}

bool is_loopback_bind(const std::string& bind) { return bind == "ipc" || is_loopback(bind); }

}  // namespace nabla
