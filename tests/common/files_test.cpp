#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

namespace nabla {

namespace {

// Lets no file of this process grow beyond a size: the kernel then refuses writes as it does on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    const rlimit limit{bytes, old_limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int);
};

std::size_t num_entries(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator{}));
}

}  // namespace

TEST_CASE("a written file reads back and leaves no temporary file") {
  TemporaryFolder folder;
  write_file(folder.file("a"), "first");
  write_file(folder.file("a"), std::string("second\0!", 8));
  CHECK(read_file(folder.file("a"), 100) == std::string("second\0!", 8));
  CHECK(num_entries(folder.path()) == 1);
}

TEST_CASE("a file that is not committed leaves the old one as it was") {
  TemporaryFolder folder;
  write_file(folder.file("a"), "old");
  {
    AtomicFile file(folder.file("a"));
    file.write("half of the new");
  }
  CHECK(read_file(folder.file("a"), 100) == "old");
  CHECK(num_entries(folder.path()) == 1);
}

TEST_CASE("a folder appears whole under its name, whether or not a slash ends it") {
  const TemporaryFolder folder;
  for (const std::string name : {"a", "b/", "c//", "d/."}) {
    INFO(name);
    AtomicFolder made(folder.file(name), ".new");
    CHECK(made.temporary_path() == folder.file(name.substr(0, 1)) + ".new");
    write_file(made.temporary_path() + "/x", "y");
    CHECK_FALSE(std::filesystem::exists(folder.file(name)));
    made.commit();
    CHECK(read_file(folder.file(name.substr(0, 1)) + "/x", 10) == "y");
  }
  CHECK(num_entries(folder.path()) == 4);
}

TEST_CASE("a folder that is not committed is gone, and one that another makes is left to it") {
  const TemporaryFolder folder;
  {
    const AtomicFolder made(folder.file("a"), ".new");
    write_file(made.temporary_path() + "/x", "y");
    check_error(
        ExitCode::kFailure, [&] { AtomicFolder(folder.file("a/"), ".new"); }, folder.file("a.new"), "File exists");
    CHECK(read_file(folder.file("a.new/x"), 10) == "y");
  }
  CHECK(num_entries(folder.path()) == 0);
  check_error(
      ExitCode::kFailure, [&] { AtomicFolder(folder.file("no/such"), ".new"); }, folder.file("no/such.new"));
}

TEST_CASE("a bare path ends with the folder's own name") {
  for (const auto& [given, bare] : {std::pair{"out", "out"}, {"out//", "out"}, {"a/out/./", "a/out"}, {"/", "/"}, {"./", "."}, {"../", ".."}})
    CHECK(bare_path(given) == bare);
}

TEST_CASE("a write that the disk refuses is one clear error and keeps the old file") {
  TemporaryFolder folder;
  write_file(folder.file("a"), "old");
  const std::string large(100'000, 'x');
  {
    const FileSizeLimit limit(10'000);
    check_error(
        ExitCode::kFailure, [&] { write_file(folder.file("a"), large); }, folder.file("a"), "cannot write");
  }
  CHECK(read_file(folder.file("a"), 100) == "old");
  CHECK(num_entries(folder.path()) == 1);
}

TEST_CASE("a full device is called a full disk") {
  const int device = ::open("/dev/full", O_WRONLY);
  REQUIRE(device >= 0);
  const std::string text = "x";
  check_error(
      ExitCode::kFailure, [&] { write_all(device, std::as_bytes(std::span(text)), "/dev/full"); }, "/dev/full", "disk is full");
  ::close(device);
}

TEST_CASE("missing folders, missing files, folders and oversized files are named") {
  TemporaryFolder folder;
  check_error(
      ExitCode::kFailure, [&] { write_file(folder.file("no/such/file"), "x"); }, "no/such/file");
  check_error(
      ExitCode::kData, [&] { read_file(folder.file("absent"), 10); }, "absent", "No such file");
  check_error(
      ExitCode::kData, [&] { read_file(folder.path(), 10); }, "not a regular file");
  write_file(folder.file("big"), "0123456789A");
  check_error(
      ExitCode::kData, [&] { read_file(folder.file("big"), 10); }, "11 bytes", "at most 10");
}

TEST_CASE("run ids are time stamps with a short id and differ") {
  const std::string id = make_run_id();
  CHECK(id.size() == 24);
  CHECK(id[8] == '-');
  CHECK(id[15] == '-');
  CHECK(make_short_id() != make_short_id());
}

}  // namespace nabla
