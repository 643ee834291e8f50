#include "launch/group/rank_place.h"

#include "tests/common/error_check.h"
#include "tests/testing.h"

using namespace nabla;

namespace {

const RankOptions kNone;

const Environment kTorchrun{{"RANK", "3"},
                            {"WORLD_SIZE", "4"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "2"},
                            {"MASTER_ADDR", "node-7"},
                            {"MASTER_PORT", "29500"},
                            {"TORCHELASTIC_RUN_ID", "job"},
                            {"TORCHELASTIC_RESTART_COUNT", "2"}};

const Environment kSrun{{"SLURM_PROCID", "2"},
                        {"SLURM_NTASKS", "4"},
                        {"SLURM_LOCALID", "0"},
                        {"SLURM_NODEID", "1"},
                        {"SLURM_JOB_ID", "100"},
                        {"SLURM_STEP_ID", "3"},
                        {"SLURM_STEP_NODELIST", "n[07-08,12]"}};

Environment without(Environment environment, const std::string& name) {
  environment.erase(name);
  return environment;
}
Environment with(Environment environment, const std::string& name, const std::string& value) {
  environment[name] = value;
  return environment;
}

template <class... Parts>
void check_refused(const RankOptions& options, std::int64_t ranks, const Environment& environment, const Parts&... parts) {
  check_error(
      ExitCode::kUsage, [&] { find_rank_place(options, ranks, environment); }, parts...);
}

}  // namespace

TEST_CASE("a process that nobody gave a rank is alone or starts the others") {
  CHECK_FALSE(find_rank_place(kNone, 1, {}));
  CHECK_FALSE(find_rank_place(kNone, 2, {{"PATH", "/bin"}}));
}

TEST_CASE("torchrun's variables give rank, number, host and port") {
  const RankPlace place = find_rank_place(kNone, 1, kTorchrun).value();
  CHECK(place.rank == 3);
  CHECK(place.size == 4);
  CHECK(place.local_rank == 1);
  CHECK(place.host == "node-7");
  CHECK(place.port == 29500);
  CHECK(place.session == "job/2");
  CHECK_FALSE(place.store_of_launcher);
  CHECK(find_rank_place(kNone, 4, with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "True")).value().store_of_launcher);
  CHECK(find_rank_place(kNone, 1, {{"RANK", "0"}, {"WORLD_SIZE", "1"}}).value().size == 1);
}

TEST_CASE("torchrun's variables that miss or contradict something are refused by name") {
  check_refused(kNone, 1, without(kTorchrun, "WORLD_SIZE"), "RANK is set but WORLD_SIZE is not");
  check_refused(kNone, 1, without(kTorchrun, "RANK"), "WORLD_SIZE is set but RANK is not");
  check_refused(kNone, 1, without(kTorchrun, "MASTER_ADDR"), "MASTER_ADDR");
  check_refused(kNone, 1, without(kTorchrun, "MASTER_PORT"), "MASTER_PORT");
  check_refused(kNone, 1, with(kTorchrun, "MASTER_PORT", "high"), "MASTER_PORT is 'high'");
  check_refused(kNone, 1, with(kTorchrun, "RANK", "4"), "rank 4 of 4");
  check_refused(kNone, 2, kTorchrun, "learner.ranks is 2 but WORLD_SIZE is 4");
}

TEST_CASE("srun's variables give rank and number; the first host of the step and a port of its own are the rendezvous") {
  const RankPlace place = find_rank_place(kNone, 1, kSrun).value();
  CHECK(place.rank == 2);
  CHECK(place.size == 4);
  CHECK(place.host == "n07");
  CHECK(place.port == find_rank_place(kNone, 4, with(kSrun, "SLURM_PROCID", "0")).value().port);
  CHECK(place.port != find_rank_place(kNone, 4, with(kSrun, "SLURM_STEP_ID", "4")).value().port);
  const RankPlace named = find_rank_place(kNone, 1, with(with(kSrun, "MASTER_ADDR", "head"), "MASTER_PORT", "4444")).value();
  CHECK(named.host == "head");
  CHECK(named.port == 4444);
  check_refused(kNone, 3, kSrun, "learner.ranks is 3 but SLURM_NTASKS is 4");
}

TEST_CASE("in a batch script, without srun, a process is alone") {
  CHECK_FALSE(find_rank_place(kNone, 1, without(kSrun, "SLURM_STEP_NODELIST")));
  CHECK_FALSE(find_rank_place(kNone, 2, with(with(kSrun, "SLURM_NTASKS", "1"), "SLURM_PROCID", "0")));
}

TEST_CASE("torchrun inside srun counts") {
  CHECK(find_rank_place(kNone, 1, with(kTorchrun, "SLURM_STEP_NODELIST", "n1")).value().rank == 3);
}

TEST_CASE("a rank by hand needs its number, the rendezvous and the number of ranks") {
  const RankPlace place = find_rank_place({1, "10.0.0.1:5000"}, 2, {}).value();
  CHECK(place.rank == 1);
  CHECK(place.size == 2);
  CHECK(place.host == "10.0.0.1");
  CHECK(place.port == 5000);
  check_refused({1, ""}, 2, {}, "--rank was given without --rendezvous");
  check_refused({-1, "h:1"}, 2, {}, "--rendezvous was given without --rank");
  check_refused({1, "host"}, 2, {}, "--rendezvous is 'host'");
  check_refused({1, "host:0"}, 2, {}, "port of --rendezvous");
  check_refused({2, "host:1"}, 2, {}, "rank 2 of 2");
  check_refused({1, "host:1"}, 1, {}, "learner.ranks is 1");
  check_refused({1, "host:1"}, 2, {{"RANK", "0"}}, "--rank is 1 but RANK is 0");
}

TEST_CASE("Open MPI's variables need the rendezvous from outside") {
  const Environment mpi{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}};
  check_refused(kNone, 1, mpi, "MASTER_ADDR");
  CHECK(find_rank_place(kNone, 1, with(with(mpi, "MASTER_ADDR", "h"), "MASTER_PORT", "1")).value().rank == 1);
}

TEST_CASE("the first host of a Slurm list is found in all its forms") {
  CHECK(first_host("n1") == "n1");
  CHECK(first_host("n1,n2") == "n1");
  CHECK(first_host("n[1-2,5]") == "n1");
  CHECK(first_host("n[003,7]-ib,m1") == "n003-ib");
  CHECK(first_host("m1,n[1-2]") == "m1");
  check_error(
      ExitCode::kUsage, [] { first_host("n[1-2"); }, "n[1-2");
}
