#pragma once

namespace nabla {

// The whole command line: parses, runs the chosen subcommand, prints one clear message for an error and returns the process's exit code.
int run_application(int argc, char** argv);

}  // namespace nabla
