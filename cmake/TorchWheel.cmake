# LibTorch from a pip wheel. find_package(Torch) wants a CUDA toolkit for a CUDA wheel even in a CPU build, so the
# targets are ours: torch::cpu, and with CUDA also torch::cuda and nccl::nccl. Sets NABLA_WITH_CUDA.
set(NABLA_TORCH_DIR "" CACHE PATH "An existing torch: its package folder, or the venv or conda folder that holds it; empty: .venv of this checkout")

if(NABLA_TORCH_DIR)
  set(_torch_place ${NABLA_TORCH_DIR})
else()
  set(_torch_place ${PROJECT_SOURCE_DIR}/.venv)
endif()
file(GLOB _torch_library ${_torch_place}/lib/libtorch_cpu.so ${_torch_place}/torch/lib/libtorch_cpu.so
     ${_torch_place}/lib/python3*/site-packages/torch/lib/libtorch_cpu.so)
if(NOT _torch_library)
  message(FATAL_ERROR "[torch] no libtorch_cpu.so in '${_torch_place}' (looked for lib/, torch/lib/ and lib/python3*/site-packages/torch/lib/). "
                      "Run launch/setup.sh, or point NABLA_TORCH_DIR at the folder of an installed torch 2.11 "
                      "(python3 -c 'import torch; print(torch.__path__[0])').")
endif()
list(GET _torch_library 0 _torch_library)
get_filename_component(_torch_root ${_torch_library}/../.. ABSOLUTE)
get_filename_component(_site ${_torch_root} DIRECTORY)

file(STRINGS ${_torch_root}/version.py _torch_version_line REGEX "^__version__ *=")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+[^'\"]*" NABLA_TORCH_VERSION "${_torch_version_line}")
message(STATUS "torch ${NABLA_TORCH_VERSION} at ${_torch_root}")
if(NOT NABLA_TORCH_VERSION MATCHES "^2\\.11\\.")
  message(WARNING "[torch] version ${NABLA_TORCH_VERSION}; this code is built and tested with 2.11.0")
endif()
file(STRINGS ${_torch_root}/lib/libc10.so _torch_cxx11 REGEX "__cxx11" LIMIT_COUNT 1)
if(NOT _torch_cxx11)
  message(FATAL_ERROR "[torch] ${_torch_root}/lib/libc10.so uses the old C++ string ABI; torch 2.11 from a wheel or conda uses the new one.")
endif()

# The CUDA runtime is a sibling wheel; libtorch_cpu of a CUDA wheel needs libcudart and libcupti even on the CPU. The wheel's own
# RPATH finds them at run time, the linker has to be told.
file(GLOB _nvidia_libs LIST_DIRECTORIES true ${_site}/nvidia/*/lib)
list(TRANSFORM _nvidia_libs PREPEND "-Wl,-rpath-link," OUTPUT_VARIABLE _rpath_link)

# The wheel has an fmt of its own among its headers. A program gets one version, the system's, so that one is found first.
get_target_property(_fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET _fmt_include 0 _fmt_include)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/headers_before_torch)
file(CREATE_LINK ${_fmt_include}/fmt ${PROJECT_BINARY_DIR}/headers_before_torch/fmt SYMBOLIC)

add_library(torch::c10 SHARED IMPORTED)
set_target_properties(torch::c10 PROPERTIES IMPORTED_LOCATION ${_torch_root}/lib/libc10.so)
add_library(torch::cpu SHARED IMPORTED)
set_target_properties(torch::cpu PROPERTIES
  IMPORTED_LOCATION ${_torch_root}/lib/libtorch_cpu.so
  INTERFACE_INCLUDE_DIRECTORIES "${PROJECT_BINARY_DIR}/headers_before_torch;${_torch_root}/include;${_torch_root}/include/torch/csrc/api/include")
target_link_libraries(torch::cpu INTERFACE torch::c10)
# As the wheel itself was compiled: without it torch's headers add debug members and checks that the library does not have.
target_compile_definitions(torch::cpu INTERFACE NDEBUG)
target_link_options(torch::cpu INTERFACE ${_rpath_link})
list(APPEND CMAKE_BUILD_RPATH ${_torch_root}/lib ${_nvidia_libs})
list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/../lib" ${_torch_root}/lib ${_nvidia_libs})

include(${CMAKE_CURRENT_LIST_DIR}/TorchCuda.cmake)
