#include "launch/application.h"

int main(int argc, char** argv) { return nabla::run_application(argc, argv); }
