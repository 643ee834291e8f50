#include "tests/chaos/power_cut.h"

#include "common/files.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <filesystem>
#include <string>

using namespace nabla;
using namespace nabla::chaos;

TEST_CASE("a power cut leaves what was synced, and zeros where a sync had failed") {
  const TemporaryFolder folder, notes;
  write_file(folder.file("q-1.seg"), "0123456789");
  write_file(folder.file("q-2.seg"), "0123456789");
  write_file(folder.file("q-3.seg"), "0123456789");
  const std::string first = folder.file("q-1.seg"), second = folder.file("q-2.seg");
  write_file(notes.file("notes"), "folder " + folder.path() + " q-1.seg q-2.seg\nfile " + first + " 4\nfile " + second + " 2\nlost " +
                                      second + " 2 5\nfile " + second + " 8\n");
  cut_power(folder.path(), notes.file("notes"));
  CHECK(read_file(first, 100) == "0123");
  CHECK(read_file(second, 100) == std::string("01\0\0\0"
                                              "567",
                                              8));
  CHECK_FALSE(std::filesystem::exists(folder.file("q-3.seg")));
  // What is left is durable now.
  cut_power(folder.path(), notes.file("notes"));
  CHECK(read_file(second, 100) == std::string("01\0\0\0"
                                              "567",
                                              8));
}
