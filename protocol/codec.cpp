#include "protocol/codec.h"

#include "common/error.h"
#include "protocol/message_fields.h"

#include <msgpack.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>

namespace nabla {

namespace {

constexpr std::size_t kMaxDepth = 8;

struct FieldCounter {
  template <class T>
  void operator()(const char*, const T&, std::size_t = 0) {
    ++count;
  }
  std::uint32_t count = 0;
};

template <class Message>
std::uint32_t num_fields(const Message& message) {
  FieldCounter counter;
  describe(counter, message);
  return counter.count;
}

class Encoder {
 public:
  explicit Encoder(msgpack::sbuffer& buffer) : buffer_(buffer), packer_(buffer) {}

  template <class T>
  void operator()(const char* name, const T& value, std::size_t cap = kMaxId) {
    write_text(name);
    field_ = name;
    write(value, cap);
  }

  template <class Message>
  void write_message(const Message& message) {
    packer_.pack_map(num_fields(message));
    describe(*this, message);
  }

 private:
  void require(std::size_t size, std::size_t cap) const {
    if (size > cap) throw data_error("[protocol] field '{}' has length {}; at most {} travel in a message", field_, size, cap);
  }

  void write_text(std::string_view text) {
    packer_.pack_str(static_cast<std::uint32_t>(text.size()));
    packer_.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
  }

  void write(bool value, std::size_t) { packer_.pack(value); }
  // pack_double() turns 2.0 into an integer, and -0.0 into 0.
  void write(double value, std::size_t) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    std::array<char, 9> bytes{'\xCB'};
    for (std::size_t i = 0; i < 8; ++i) bytes[1 + i] = static_cast<char>(bits >> (56 - 8 * i));
    buffer_.write(bytes.data(), bytes.size());
  }
  void write(std::int32_t value, std::size_t) { packer_.pack_int32(value); }
  void write(std::int64_t value, std::size_t) { packer_.pack_int64(value); }
  void write(std::uint32_t value, std::size_t) { packer_.pack_uint32(value); }
  void write(std::uint64_t value, std::size_t) { packer_.pack_uint64(value); }

  void write(const std::string& value, std::size_t cap) {
    require(value.size(), cap);
    write_text(value);
  }

  template <class T>
  void write(const std::vector<T>& values, std::size_t cap) {
    require(values.size(), cap);
    packer_.pack_array(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) write(value, kMaxText);
  }

  template <class T>
  void write(const std::map<std::string, T>& values, std::size_t cap) {
    require(values.size(), cap);
    packer_.pack_map(static_cast<std::uint32_t>(values.size()));
    for (const auto& [key, value] : values) {
      write(key, kMaxId);
      write(value, kMaxId);
    }
  }

  template <class T>
  void write(const std::optional<T>& value, std::size_t cap) {
    if (!value) {
      packer_.pack_nil();
      return;
    }
    write(*value, cap);
  }

  template <class T>
  void write(const T& value, std::size_t) {
    if constexpr (std::is_enum_v<T>) {
      packer_.pack_uint8(static_cast<std::uint8_t>(value));
    } else {
      write_message(value);
    }
  }

  msgpack::sbuffer& buffer_;
  msgpack::packer<msgpack::sbuffer> packer_;
  const char* field_ = "";
};

// Thrown inside decode() only.
struct Malformed {
  std::string reason;
  bool other_version = false;
};

enum class TokenKind : std::uint32_t { kNil, kBool, kUnsigned, kNegative, kFloat, kText, kArray, kMap };

// One MessagePack value; text is a view into the message, the items of an array or map follow it.
struct Token {
  TokenKind kind = TokenKind::kNil;
  std::uint32_t size = 0;
  union {
    std::uint64_t number = 0;
    std::int64_t negative;
    double real;
    const char* text;
  };
};

// Turns bytes into tokens and refuses what no message holds. Every declared item needs at least one byte, so the sum of all declared counts is
// bounded by the message; nothing is reserved from a count.
class Tokenizer : public msgpack::null_visitor {
 public:
  Tokenizer(std::vector<Token>& tokens, std::size_t num_bytes, std::size_t max_items)
      : tokens_(tokens), budget_(std::min(num_bytes, max_items)) {}

  const char* fault = nullptr;

  bool visit_nil() { return add(TokenKind::kNil) != nullptr; }
  bool visit_boolean(bool value) { return add_number(TokenKind::kBool, value ? 1 : 0); }
  bool visit_positive_integer(std::uint64_t value) { return add_number(TokenKind::kUnsigned, value); }
  bool visit_negative_integer(std::int64_t value) {
    Token* token = add(TokenKind::kNegative);
    if (token != nullptr) token->negative = value;
    return token != nullptr;
  }
  bool visit_float32(float value) { return visit_float64(value); }
  bool visit_float64(double value) {
    Token* token = add(TokenKind::kFloat);
    if (token != nullptr) token->real = value;
    return token != nullptr;
  }
  bool visit_str(const char* text, std::uint32_t size) {
    Token* token = add(TokenKind::kText);
    if (token == nullptr) return false;
    token->text = text;
    token->size = size;
    return true;
  }
  bool visit_bin(const char*, std::uint32_t) { return refuse("holds a binary value"); }
  bool visit_ext(const char*, std::uint32_t) { return refuse("holds an extension type"); }
  bool start_array(std::uint32_t size) { return open(TokenKind::kArray, size, size); }
  bool end_array() { return close(); }
  bool start_map(std::uint32_t size) { return open(TokenKind::kMap, size, 2 * std::uint64_t{size}); }
  bool end_map() { return close(); }
  void parse_error(std::size_t, std::size_t) { refuse("is not MessagePack"); }
  void insufficient_bytes(std::size_t, std::size_t) { refuse("ends in the middle of a value"); }

 private:
  bool refuse(const char* why) {
    if (fault == nullptr) fault = why;
    return false;
  }

  Token* add(TokenKind kind) {
    if (tokens_.size() > budget_) {
      refuse("holds too many values");
      return nullptr;
    }
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    return &token;
  }

  bool add_number(TokenKind kind, std::uint64_t value) {
    Token* token = add(kind);
    if (token != nullptr) token->number = value;
    return token != nullptr;
  }

  bool open(TokenKind kind, std::uint32_t size, std::uint64_t items) {
    declared_ += items;
    if (declared_ > budget_) return refuse("declares more items than it can hold");
    if (++depth_ > kMaxDepth) return refuse("is nested too deep");
    Token* token = add(kind);
    if (token != nullptr) token->size = size;
    return token != nullptr;
  }

  bool close() {
    --depth_;
    return true;
  }

  std::vector<Token>& tokens_;
  const std::uint64_t budget_;
  std::uint64_t declared_ = 0;
  std::size_t depth_ = 0;
};

std::vector<Token> tokenize(std::span<const std::byte> bytes, const CodecLimits& limits) {
  if (bytes.size() > limits.max_bytes) throw Malformed{fmt::format("has {} bytes, at most {} are allowed", bytes.size(), limits.max_bytes)};
  std::vector<Token> tokens;
  Tokenizer tokenizer(tokens, bytes.size(), limits.max_items);
  std::size_t offset = 0;
  const bool complete = msgpack::parse(reinterpret_cast<const char*>(bytes.data()), bytes.size(), offset, tokenizer);
  if (!complete || tokenizer.fault != nullptr) throw Malformed{tokenizer.fault == nullptr ? "is not MessagePack" : tokenizer.fault};
  if (offset != bytes.size()) throw Malformed{fmt::format("has {} bytes after its end", bytes.size() - offset)};
  return tokens;
}

// Length of the UTF-8 sequence at the start of text, 0 if there is none (overlong forms, surrogates and numbers above U+10FFFF are none).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xF0 && first < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

class Decoder {
 public:
  explicit Decoder(const std::vector<Token>& tokens) : tokens_(tokens) {}

  template <class T>
  void operator()(const char* name, T& value, std::size_t cap = kMaxId) {
    const std::string_view key = take_text("a field's name");
    if (key != name) throw Malformed{fmt::format("has field '{}' where '{}' is expected", printable(key), name)};
    field_ = name;
    read(value, cap);
    if (key == "protocol_version") require_our_version();
  }

  template <class Message>
  void read_message(Message& message) {
    const std::uint32_t size = take(TokenKind::kMap, "a map").size;
    describe(*this, message);
    const std::uint32_t expected = num_fields(message);
    if (size != expected) throw Malformed{fmt::format("has {} fields where {} are expected", size, expected)};
  }

 private:
  static std::string printable(std::string_view text) { return is_utf8(text) ? std::string(text.substr(0, 64)) : "(not UTF-8)"; }

  Malformed fault(std::string_view problem) const { return {fmt::format("field '{}' {}", field_, problem)}; }

  void require_our_version() const {
    const Token& token = tokens_[next_ - 1];
    if (token.number == kProtocolVersion) return;
    throw Malformed{fmt::format("speaks protocol version {}, this program speaks {}", token.number, kProtocolVersion), true};
  }

  const Token& take(TokenKind kind, const char* what) {
    if (next_ >= tokens_.size()) throw Malformed{fmt::format("ends where {} is expected, after field '{}'", what, field_)};
    if (tokens_[next_].kind != kind) throw fault(fmt::format("is not {}", what));
    return tokens_[next_++];
  }

  std::string_view take_text(const char* what) {
    const Token& token = take(TokenKind::kText, what);
    return {token.text, token.size};
  }

  template <class Integer>
  void read_integer(Integer& value) {
    if (next_ >= tokens_.size()) throw fault("is missing");
    const Token& token = tokens_[next_++];
    using Limits = std::numeric_limits<Integer>;
    if (token.kind == TokenKind::kUnsigned && token.number <= static_cast<std::uint64_t>(Limits::max())) {
      value = static_cast<Integer>(token.number);
      return;
    }
    if constexpr (std::is_signed_v<Integer>) {
      if (token.kind == TokenKind::kNegative && token.negative >= Limits::min()) {
        value = static_cast<Integer>(token.negative);
        return;
      }
    }
    throw fault("is not an integer in range");
  }

  void read(bool& value, std::size_t) { value = take(TokenKind::kBool, "a boolean").number != 0; }
  void read(double& value, std::size_t) { value = take(TokenKind::kFloat, "a floating-point number").real; }
  void read(std::int32_t& value, std::size_t) { read_integer(value); }
  void read(std::int64_t& value, std::size_t) { read_integer(value); }
  void read(std::uint32_t& value, std::size_t) { read_integer(value); }
  void read(std::uint64_t& value, std::size_t) { read_integer(value); }

  void read(std::string& value, std::size_t cap) {
    const std::string_view text = take_text("a string");
    if (text.size() > cap) throw fault(fmt::format("has {} bytes, at most {} are allowed", text.size(), cap));
    if (!is_utf8(text)) throw fault("is not UTF-8");
    value = text;
  }

  template <class T>
  void read(std::vector<T>& values, std::size_t cap) {
    const std::uint32_t size = take(TokenKind::kArray, "an array").size;
    if (size > cap) throw fault(fmt::format("has {} elements, at most {} are allowed", size, cap));
    values.clear();
    const char* name = field_;
    for (std::uint32_t i = 0; i < size; ++i) {
      read(values.emplace_back(), kMaxText);
      field_ = name;
    }
  }

  template <class T>
  void read(std::map<std::string, T>& values, std::size_t cap) {
    const std::uint32_t size = take(TokenKind::kMap, "a map").size;
    if (size > cap) throw fault(fmt::format("has {} entries, at most {} are allowed", size, cap));
    values.clear();
    for (std::uint32_t i = 0; i < size; ++i) {
      std::string key;
      read(key, kMaxId);
      // The encoder's order is ascending, so the last key is the greatest one.
      if (!values.empty() && key <= values.rbegin()->first) throw fault(fmt::format("has key '{}' twice or out of order", key));
      read(values[key], kMaxId);
    }
  }

  template <class T>
  void read(std::optional<T>& value, std::size_t cap) {
    if (next_ < tokens_.size() && tokens_[next_].kind == TokenKind::kNil) {
      ++next_;
      value.reset();
      return;
    }
    read(value.emplace(), cap);
  }

  template <class T>
  void read(T& value, std::size_t) {
    if constexpr (std::is_enum_v<T>) {
      std::uint32_t number = 0;
      read_integer(number);
      if (number > static_cast<std::uint32_t>(last_value(T{}))) throw fault(fmt::format("has the unknown value {}", number));
      value = static_cast<T>(number);
    } else {
      read_message(value);
    }
  }

  const std::vector<Token>& tokens_;
  std::size_t next_ = 0;
  const char* field_ = "";
};

}  // namespace

std::string wire_text(std::string text) {
  if (text.size() > kMaxText) text.resize(kMaxText);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(std::string_view(text).substr(i));
    if (length == 0) text[i] = '?';
    i += std::max<std::size_t>(length, 1);
  }
  return text;
}

template <class Message>
Bytes encode(const Message& message) {
  const auto buffer = std::make_shared<msgpack::sbuffer>(1024);
  Encoder(*buffer).write_message(message);
  return {buffer, std::as_bytes(std::span(buffer->data(), buffer->size()))};
}

template <class Message>
DecodeStatus decode(std::span<const std::byte> bytes, Message& message, const CodecLimits& limits) {
  try {
    const std::vector<Token> tokens = tokenize(bytes, limits);
    Decoder(tokens).read_message(message);
    return {};
  } catch (const Malformed& malformed) {
    return {false, malformed.other_version, malformed.reason};
  }
}

#define NABLA_MESSAGE(Message)                    \
  template Bytes encode<Message>(const Message&); \
  template DecodeStatus decode<Message>(std::span<const std::byte>, Message&, const CodecLimits&);

NABLA_MESSAGE(RecordHeader)
NABLA_MESSAGE(Hello)
NABLA_MESSAGE(Welcome)
NABLA_MESSAGE(Refusal)
NABLA_MESSAGE(Heartbeat)
NABLA_MESSAGE(EvaluationResult)
NABLA_MESSAGE(Ack)
NABLA_MESSAGE(Work)
NABLA_MESSAGE(Snapshot)
NABLA_MESSAGE(TicketFailure)
NABLA_MESSAGE(SnapshotRequest)
NABLA_MESSAGE(StatesRequest)
NABLA_MESSAGE(SlotStates)
NABLA_MESSAGE(Alive)
NABLA_MESSAGE(Notice)
NABLA_MESSAGE(PublishEntry)
NABLA_MESSAGE(DiscardEntry)
NABLA_MESSAGE(TrainedEntry)
NABLA_MESSAGE(SegmentSummary)
#undef NABLA_MESSAGE

}  // namespace nabla
