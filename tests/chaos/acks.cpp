#include "tests/chaos/acks.h"

#include "common/error.h"
#include "common/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace nabla::chaos {

AckFile::AckFile(const std::string& path)
    : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) throw failure("[chaos] cannot write '{}': {}", path, std::strerror(errno));
}

AckFile::~AckFile() { ::close(descriptor_); }

void AckFile::add(const AckLine& line) {
  const std::string text = fmt::format("{} {} {} {}\n", line.slot, line.nonce, line.first ? "first" : "duplicate", line.actor_id);
  write_all(descriptor_, std::as_bytes(std::span(text)), path_);
}

std::vector<AckLine> read_acks(const std::string& folder) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
  std::vector<AckLine> acks;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    std::string text = read_file(file.path().string(), kMaxBytes);
    text.erase(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
    std::istringstream lines(text);
    AckLine line;
    for (std::string kind; lines >> line.slot >> line.nonce >> kind >> line.actor_id;) {
      line.first = kind == "first";
      acks.push_back(line);
    }
  }
  return acks;
}

}  // namespace nabla::chaos
