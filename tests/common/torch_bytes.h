#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// Zip archives and pickles by the byte, as torch.save writes them and as it does not.

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string u16(std::uint64_t value) { return little_endian(static_cast<std::uint16_t>(value)); }
inline std::string u32(std::uint64_t value) { return little_endian(static_cast<std::uint32_t>(value)); }
inline std::string u64(std::uint64_t value) { return little_endian(value); }

struct ZipSource {
  std::string name, data;
  std::uint64_t flags = 0, method = 0;
  std::string local_name = {};  // where it differs
  bool zip64 = false;           // sizes and offset stand in the extra field
};

// An archive of these entries, its directory and end record. `zip64_end`: with the end record of large archives.
inline std::string make_zip(const std::vector<ZipSource>& entries, bool zip64_end = false) {
  std::string body, directory;
  for (const ZipSource& entry : entries) {
    const std::size_t offset = body.size();
    const std::string local_name = entry.local_name.empty() ? entry.name : entry.local_name;
    body += u32(0x04034b50) + u16(20) + u16(entry.flags) + u16(entry.method) + u32(0) + u32(0) + u32(0) + u32(0) + u16(local_name.size()) +
            u16(3) + local_name + "pad" + entry.data;
    const std::uint64_t size = entry.zip64 ? 0xFFFFFFFF : entry.data.size();
    const std::string extra =
        entry.zip64 ? u16(7) + u16(2) + "xy" + u16(1) + u16(24) + u64(entry.data.size()) + u64(entry.data.size()) + u64(offset) : "";
    directory += u32(0x02014b50) + u16(20) + u16(20) + u16(entry.flags) + u16(entry.method) + u32(0) + u32(0) + u32(size) + u32(size) +
                 u16(entry.name.size()) + u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) + u32(entry.zip64 ? 0xFFFFFFFF : offset) +
                 entry.name + extra;
  }
  const std::size_t begin = body.size(), end = begin + directory.size(), count = entries.size();
  std::string tail;
  if (zip64_end) {
    tail = u32(0x06064b50) + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(count) + u64(count) + u64(directory.size()) + u64(begin);
    tail += u32(0x07064b50) + u32(0) + u64(end) + u32(1);
  }
  const std::uint64_t shown = zip64_end ? 0xFFFFFFFF : begin;
  tail += u32(0x06054b50) + u16(0) + u16(0) + u16(zip64_end ? 0xFFFF : count) + u16(zip64_end ? 0xFFFF : count) +
          u32(zip64_end ? 0xFFFFFFFF : directory.size()) + u32(shown) + u16(0);
  return body + directory + tail;
}

// Pieces of a pickle.
inline std::string pickle_text(const std::string& text) { return std::string("X") + u32(text.size()) + text; }
inline std::string pickle_integer(std::int64_t value) { return std::string("\x8A\x08") + little_endian(value); }
inline std::string pickle_global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
inline std::string pickle_tuple(const std::vector<std::int64_t>& values) {
  std::string items;
  for (const std::int64_t value : values) items += pickle_integer(value);
  return "(" + items + "t";
}
inline std::string pickle_storage(const std::string& type, const std::string& key, std::int64_t count) {
  return std::string("(") + pickle_text("storage") + pickle_global("torch", type) + pickle_text(key) + pickle_text("cpu") + pickle_integer(count) + "tQ";
}

struct TensorPickle {
  std::string type = "FloatStorage", key = "0";
  std::int64_t count = 6, offset = 0;
  std::vector<std::int64_t> shape{2, 3}, strides{3, 1};
};

inline std::string pickle_tensor(const TensorPickle& tensor) {
  return pickle_global("torch._utils", "_rebuild_tensor_v2") + "(" + pickle_storage(tensor.type, tensor.key, tensor.count) +
         pickle_integer(tensor.offset) + pickle_tuple(tensor.shape) + pickle_tuple(tensor.strides) + "\x89" +
         pickle_global("collections", "OrderedDict") + ")RtR";
}

// A whole pickle of {name: value, ...}.
inline std::string pickle_dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string program = "\x80\x02}(";
  for (const auto& [name, value] : items) program += pickle_text(name) + value;
  return program + "u.";
}

// A file of torch.save with this pickle and storages "0", "1", ...
inline std::string make_torch_file(const std::string& program, const std::vector<std::string>& storages,
                                   const std::string& byte_order = "little") {
  std::vector<ZipSource> entries{{.name = "archive/data.pkl", .data = program}, {.name = "archive/byteorder", .data = byte_order}};
  for (std::size_t i = 0; i < storages.size(); ++i) entries.push_back({.name = "archive/data/" + std::to_string(i), .data = storages[i]});
  entries.push_back({.name = "archive/version", .data = "3\n"});
  return make_zip(entries);
}

}  // namespace nabla
