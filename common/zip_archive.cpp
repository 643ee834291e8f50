#include "common/zip_archive.h"

#include "common/error.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace nabla {

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                        kLocator64 = 0x07064b50;
constexpr std::uint64_t kLocalHeaderBytes = 30, kCentralHeaderBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr std::uint64_t kMaxCommentBytes = 65535, kFull16 = 0xFFFF, kFull32 = 0xFFFFFFFF;

// Little-endian numbers and texts at places that are checked against the file's end.
class Fields {
 public:
  Fields(Bytes bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  Bytes part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      throw data_error("[zip] '{}' is cut short or damaged: a part of {} bytes at {} leaves the file of {}", source_, size, offset,
                       bytes_.size());
    return bytes_.subspan(offset, size);
  }
  std::string_view text(std::uint64_t offset, std::uint64_t size) const {
    const Bytes found = part(offset, size);
    return {reinterpret_cast<const char*>(found.data()), found.size()};
  }
  std::uint64_t u16(std::uint64_t offset) const { return number<std::uint16_t>(offset); }
  std::uint64_t u32(std::uint64_t offset) const { return number<std::uint32_t>(offset); }
  std::uint64_t u64(std::uint64_t offset) const { return number<std::uint64_t>(offset); }
  std::uint64_t size() const { return bytes_.size(); }
  const std::string& source() const { return source_; }

 private:
  template <class T>
  T number(std::uint64_t offset) const {
    T value;
    std::memcpy(&value, part(offset, sizeof value).data(), sizeof value);
    return value;
  }

  Bytes bytes_;
  const std::string& source_;
};

// The central directory: the table of entries at the file's end.
struct Directory {
  std::uint64_t entries = 0, offset = 0, size = 0;
};

std::uint64_t find_end(const Fields& file) {
  if (file.size() >= kEndBytes) {
    const std::uint64_t last = file.size() - kEndBytes;
    for (std::uint64_t at = last, first = last - std::min(last, kMaxCommentBytes);; --at) {
      if (file.u32(at) == kEnd && at + kEndBytes + file.u16(at + 20) == file.size()) return at;
      if (at == first) break;
    }
  }
  throw data_error("[zip] '{}' has no table of entries at its end; the file is cut short, copy it again", file.source());
}

Directory find_directory(const Fields& file) {
  const std::uint64_t end = find_end(file);
  Directory directory{file.u16(end + 10), file.u32(end + 16), file.u32(end + 12)};
  std::uint64_t limit = end;
  if (directory.entries == kFull16 || directory.offset == kFull32 || directory.size == kFull32) {
    if (end < kLocator64Bytes || file.u32(end - kLocator64Bytes) != kLocator64)
      throw data_error("[zip] '{}' lacks the zip64 record that its sizes ask for", file.source());
    const std::uint64_t end64 = file.u64(end - kLocator64Bytes + 8);
    file.part(end64, kEnd64Bytes);
    if (file.u32(end64) != kEnd64) throw data_error("[zip] '{}' is damaged: its zip64 record is none", file.source());
    directory = {file.u64(end64 + 32), file.u64(end64 + 48), file.u64(end64 + 40)};
    limit = end64;
  }
  if (directory.offset > limit || directory.size > limit - directory.offset || directory.entries > directory.size / kCentralHeaderBytes) {
    throw data_error("[zip] '{}' is damaged: a table of {} entries in {} bytes at {} does not fit", file.source(), directory.entries,
                     directory.size, directory.offset);
  }
  return directory;
}

struct Entry {
  std::string name;
  std::uint64_t size = 0, header = 0;  // of its data; offset of its local header
  std::uint64_t record_bytes = 0;      // of its row in the directory
};

// A size or offset that does not fit 32 bits stands in the zip64 extra field, in the order of the header's fields.
void read_zip64(const Fields& file, std::uint64_t extra, std::uint64_t extra_end, std::initializer_list<std::uint64_t*> fields) {
  while (extra + 4 <= extra_end) {
    const std::uint64_t id = file.u16(extra), size = file.u16(extra + 2);
    const std::uint64_t end = std::min(extra + 4 + size, extra_end);
    extra += 4;
    for (std::uint64_t* field : fields) {
      if (id != 1 || *field != kFull32 || extra + 8 > end) continue;
      *field = file.u64(extra);
      extra += 8;
    }
    extra = end;
  }
}

Entry read_entry(const Fields& file, std::uint64_t at) {
  if (file.u32(at) != kCentralHeader) throw data_error("[zip] '{}' is damaged: there is no entry at {} of its table", file.source(), at);
  const std::uint64_t name_bytes = file.u16(at + 28), extra_bytes = file.u16(at + 30);
  const std::uint64_t extra = at + kCentralHeaderBytes + name_bytes;
  Entry entry{std::string(file.text(at + kCentralHeaderBytes, name_bytes)), file.u32(at + 24), file.u32(at + 42),
              kCentralHeaderBytes + name_bytes + extra_bytes + file.u16(at + 32)};
  std::uint64_t compressed = file.u32(at + 20);
  read_zip64(file, extra, extra + extra_bytes, {&entry.size, &compressed, &entry.header});
  if ((file.u16(at + 8) & 1) != 0)
    throw data_error("[zip] '{}': entry '{}' is encrypted; torch.save does not do that", file.source(), entry.name);
  if (file.u16(at + 10) != 0 || compressed != entry.size) {
    throw data_error("[zip] '{}': entry '{}' is compressed; torch.save stores its entries as they are, unpack and pack again with `zip -0`",
                     file.source(), entry.name);
  }
  return entry;
}

// Where the entry's data begins: behind its local header, whose own sizes may be unset.
std::uint64_t data_offset(const Fields& file, const Entry& entry) {
  if (file.u32(entry.header) != kLocalHeader)
    throw data_error("[zip] '{}' is damaged: entry '{}' has no header at {}", file.source(), entry.name, entry.header);
  const std::uint64_t name_bytes = file.u16(entry.header + 26);
  if (file.text(entry.header + kLocalHeaderBytes, name_bytes) != entry.name) {
    throw data_error("[zip] '{}' is damaged: the header of entry '{}' bears another name", file.source(), entry.name);
  }
  return entry.header + kLocalHeaderBytes + name_bytes + file.u16(entry.header + 28);
}

struct Place {
  std::uint64_t begin = 0, end = 0;
  std::string_view name;
};

void refuse_overlap(std::vector<Place> places, const std::string& source) {
  std::ranges::sort(places, {}, &Place::begin);
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].begin < places[i - 1].end)
      throw data_error("[zip] '{}': entries '{}' and '{}' overlap; torch.save writes no such file", source, places[i - 1].name,
                       places[i].name);
  }
}

}  // namespace

std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> archive, const std::string& source) {
  const Fields file(archive, source);
  const Directory directory = find_directory(file);
  const Fields before_directory(archive.first(directory.offset), source);
  std::map<std::string, Bytes> entries;
  std::vector<Place> places;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const Entry entry = read_entry(file, at);
    at += entry.record_bytes;
    const std::uint64_t begin = data_offset(before_directory, entry);
    const auto [place, is_new] = entries.emplace(entry.name, before_directory.part(begin, entry.size));
    if (!is_new) throw data_error("[zip] '{}': the entry '{}' stands there twice", source, entry.name);
    places.push_back({entry.header, begin + entry.size, place->first});
  }
  refuse_overlap(std::move(places), source);
  return entries;
}

bool begins_as_zip(std::span<const std::byte> bytes) {
  std::uint32_t signature = 0;
  if (bytes.size() < sizeof signature) return false;
  std::memcpy(&signature, bytes.data(), sizeof signature);
  return signature == kLocalHeader || signature == kEnd;
}

}  // namespace nabla
