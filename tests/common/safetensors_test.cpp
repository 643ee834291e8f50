#include "common/safetensors.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <cstring>

namespace nabla {

namespace {

// A safetensors file with any header and data, right or wrong.
std::string raw_safetensors(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

template <class... Parts>
void check_refused(const std::string& content, const Parts&... parts) {
  TemporaryFolder folder;
  write_file(folder.file("bad.safetensors"), content);
  check_error(
      ExitCode::kData, [&] { SafetensorsFile::open(folder.file("bad.safetensors")); }, "bad.safetensors", parts...);
}

std::span<const std::byte> bytes_of_vector(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

}  // namespace

TEST_CASE("tensors read back as they were written, empty and rank-0 ones too") {
  TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const std::vector<float> matrix{1, 2, 3, 4, 5, 6}, scalar{7};
  const std::vector<std::int64_t> indices{-1};
  write_safetensors(path,
                    {{"m", {DType::kF32, {2, 3}, bytes_of_vector(matrix)}},
                     {"s", {DType::kF32, {}, bytes_of_vector(scalar)}},
                     {"none", {DType::kBF16, {0, 5}, {}}},
                     {"i", {DType::kI64, {1}, std::as_bytes(std::span(indices))}}},
                    {{"step", "12"}});
  const auto file = SafetensorsFile::open(path);
  CHECK(file->tensors().size() == 4);
  CHECK(file->tensors().at("m").shape == std::vector<std::int64_t>{2, 3});
  CHECK(file->tensors().at("none").shape == std::vector<std::int64_t>{0, 5});
  CHECK(file->tensors().at("s").shape.empty());
  CHECK(file->metadata().at("format") == "pt");
  CHECK(file->metadata().at("step") == "12");
  float back[6];
  REQUIRE(file->bytes("m").size() == sizeof back);
  std::memcpy(back, file->bytes("m").data(), sizeof back);
  CHECK(std::vector<float>(back, back + 6) == matrix);
  check_error(
      ExitCode::kData, [&] { file->bytes("absent"); }, "absent");
}

TEST_CASE("the writer's bytes are the reference writer's") {
  TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const std::vector<float> one{1};
  const std::vector<std::int64_t> two{2};
  const std::vector<std::uint8_t> bytes{3, 4};
  write_safetensors(path, {{"a", {DType::kU8, {2}, std::as_bytes(std::span(bytes))}},
                           {"z", {DType::kF32, {1}, bytes_of_vector(one)}},
                           {"b", {DType::kF32, {1}, bytes_of_vector(one)}},
                           {"i", {DType::kI64, {1}, std::as_bytes(std::span(two))}}});
  std::string header = R"({"__metadata__":{"format":"pt"},"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"z":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},)"
                       R"("a":{"dtype":"U8","shape":[2],"data_offsets":[16,18]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string float_one("\0\0\x80\x3F", 4);
  CHECK(read_file(path, 1000) == raw_safetensors(header, std::string("\2\0\0\0\0\0\0\0", 8) + float_one + float_one + "\3\4"));
}

TEST_CASE("the data of a written file starts at a multiple of eight bytes") {
  TemporaryFolder folder;
  for (const char* name : {"t", "te", "ten", "tens", "tenso", "tensor"}) {
    write_safetensors(folder.file("a"), {{name, {DType::kU8, {0}, {}}}});
    CHECK(read_file(folder.file("a"), 1000).size() % 8 == 0);
  }
}

TEST_CASE("bytes that do not make the shape are not written") {
  TemporaryFolder folder;
  const std::vector<float> values(5);
  check_error(
      ExitCode::kFailure,
      [&] {
        write_safetensors(folder.file("a"), {{"t", {DType::kF32, {2, 3}, bytes_of_vector(values)}}});
      },
      "'t'", "[2,3]");
  CHECK_FALSE(std::filesystem::exists(folder.file("a")));
}

TEST_CASE("cut and oversized files are refused") {
  const std::string header = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string good = raw_safetensors(header, std::string(8, 'x'));
  check_refused("", "too few");
  check_refused(good.substr(0, 7), "too few");
  check_refused(good.substr(0, 20), "cut short");
  check_refused(good.substr(0, good.size() - 1), "cut short");
  check_refused(good + "x", "too long");
  check_refused(std::string(8, '\xFF') + "{}", "at most 100000000");
  check_error(
      ExitCode::kData, [] { SafetensorsFile::open("/nonexistent.safetensors"); }, "/nonexistent.safetensors", "No such file");
  check_error(
      ExitCode::kData, [] { SafetensorsFile::open("/tmp"); }, "not a regular file");
}

TEST_CASE("broken headers are refused") {
  check_refused(raw_safetensors(" {}", ""), "does not start with");
  check_refused(raw_safetensors("", ""), "does not start with");
  check_refused(raw_safetensors("{\"t\":", ""), "not valid JSON");
  check_refused(raw_safetensors("{} x", ""), "not valid JSON");
  check_refused(raw_safetensors("{\"\xFF\":1}", ""), "not valid JSON");
  check_refused(raw_safetensors(R"({"__metadata__":{"a":1}})", ""), "only texts");
  check_refused(raw_safetensors(R"({"__metadata__":[]})", ""), "not an object");
  check_refused(
      raw_safetensors(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""),
      "twice");
}

TEST_CASE("wrong tensor entries are refused with the tensor's name") {
  const std::string eight(8, 'x');
  check_refused(raw_safetensors(R"({"t":{"shape":[8],"data_offsets":[0,8]}})", eight), "'t'", "no dtype");
  check_refused(raw_safetensors(R"({"t":7})", eight), "'t'", "no dtype");
  check_refused(raw_safetensors(R"({"t":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", eight), "'t'", "F8_E4M3");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","data_offsets":[0,8]}})", eight), "'t'", "'shape' is missing");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}})", eight), "'t'", "-8");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}})", eight), "'t'", "8.0");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}})", eight), "'t'", "[8,0]");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","shape":[8],"data_offsets":[0]}})", eight), "'t'", "[0]");
  check_refused(raw_safetensors(R"({"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", eight), "'t'", "do not make");
  check_refused(raw_safetensors(R"({"t":{"dtype":"F32","shape":[4611686018427387904,4,2],"data_offsets":[0,8]}})", eight), "'t'",
                "do not make");
  check_refused(raw_safetensors(R"({"t":{"dtype":"U8","shape":[0,4611686018427387904,2],"data_offsets":[0,0]}})", ""), "'t'", "do not make");
  check_refused(raw_safetensors(R"({"t":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", eight), "'t'",
                "18446744073709551615");
}

TEST_CASE("holes and overlaps between tensors are refused") {
  const auto two = [](const char* a, const char* b) {
    return raw_safetensors(
        fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})", a, b),
        std::string(9, 'x'));
  };
  check_refused(two("[0,4]", "[5,9]"), "'b'", "holes");
  check_refused(two("[0,4]", "[3,7]"), "'b'", "overlap");
  check_refused(two("[1,5]", "[5,9]"), "'a'", "begins at 1");
  check_refused(two("[0,4]", "[4,8]"), "too long");
}

}  // namespace nabla
