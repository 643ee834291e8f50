# LibTorch from a pip wheel. find_package(Torch) wants a CUDA toolkit for a CUDA wheel even in a CPU build, so the
# targets are ours: torch::cpu, and with CUDA also torch::cuda and nccl::nccl.
set(NABLA_TORCH_DIR "" CACHE PATH "The torch package folder of an existing installation (venv, conda); empty: .venv of this checkout")

if(NABLA_TORCH_DIR)
  set(_torch_root ${NABLA_TORCH_DIR})
else()
  file(GLOB _torch_candidates ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  list(GET _torch_candidates 0 _torch_root)
endif()
if(NOT EXISTS ${_torch_root}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "[torch] no libtorch_cpu.so under '${_torch_root}/lib'. Run launch/setup.sh, or point NABLA_TORCH_DIR "
                      "at the folder of an installed torch 2.11 (python3 -c 'import torch; print(torch.__path__[0])').")
endif()
get_filename_component(_site ${_torch_root} DIRECTORY)
file(STRINGS ${_torch_root}/version.py _torch_version_line REGEX "^__version__ *=")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+[^'\"]*" NABLA_TORCH_VERSION "${_torch_version_line}")
message(STATUS "torch ${NABLA_TORCH_VERSION} at ${_torch_root}")

# The CUDA runtime is a sibling wheel; libtorch_cpu of a CUDA wheel needs libcudart and libcupti even on the CPU.
file(GLOB _nvidia_libs LIST_DIRECTORIES true ${_site}/nvidia/*/lib ${_site}/nvidia/*/*/lib)
set(_rpath_link "")
foreach(_dir IN LISTS _nvidia_libs)
  list(APPEND _rpath_link "-Wl,-rpath-link,${_dir}")
endforeach()

add_library(torch::c10 SHARED IMPORTED)
set_target_properties(torch::c10 PROPERTIES IMPORTED_LOCATION ${_torch_root}/lib/libc10.so)
add_library(torch::cpu SHARED IMPORTED)
set_target_properties(torch::cpu PROPERTIES
  IMPORTED_LOCATION ${_torch_root}/lib/libtorch_cpu.so
  INTERFACE_INCLUDE_DIRECTORIES "${_torch_root}/include;${_torch_root}/include/torch/csrc/api/include")
target_link_libraries(torch::cpu INTERFACE torch::c10)
target_link_options(torch::cpu INTERFACE ${_rpath_link})
list(APPEND CMAKE_BUILD_RPATH ${_torch_root}/lib ${_nvidia_libs})
list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/../lib" ${_torch_root}/lib ${_nvidia_libs})

# CUDA: the wheel's libraries first, the toolkit for nvcc and headers.
find_program(NABLA_NVCC nvcc HINTS /usr/local/cuda/bin)
set(_full_set OFF)
file(GLOB _nccl_library ${_site}/nvidia/nccl/lib/libnccl.so.2)
if(EXISTS ${_torch_root}/lib/libtorch_cuda.so AND _nccl_library)
  set(_full_set ON)
endif()
if(NABLA_CUDA STREQUAL "AUTO")
  if(NABLA_NVCC AND _full_set)
    set(NABLA_WITH_CUDA ON)
  else()
    set(NABLA_WITH_CUDA OFF)
  endif()
elseif(NABLA_CUDA)
  if(NOT NABLA_NVCC OR NOT _full_set)
    message(FATAL_ERROR "[cuda] NABLA_CUDA=ON needs nvcc (found: '${NABLA_NVCC}') and the full torch wheel set with NCCL "
                        "(found: ${_full_set}). Run launch/setup.sh --cuda.")
  endif()
  set(NABLA_WITH_CUDA ON)
else()
  set(NABLA_WITH_CUDA OFF)
endif()
message(STATUS "CUDA: ${NABLA_WITH_CUDA} (NABLA_CUDA=${NABLA_CUDA})")

if(NABLA_WITH_CUDA)
  set(CMAKE_CUDA_COMPILER ${NABLA_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
  set(CMAKE_CUDA_STANDARD 20)
  enable_language(CUDA)
  get_filename_component(_cuda_root ${NABLA_NVCC} REALPATH)
  get_filename_component(_cuda_root ${_cuda_root}/../.. ABSOLUTE)
  add_library(torch::cuda SHARED IMPORTED)
  set_target_properties(torch::cuda PROPERTIES
    IMPORTED_LOCATION ${_torch_root}/lib/libtorch_cuda.so
    INTERFACE_INCLUDE_DIRECTORIES ${_cuda_root}/include)
  add_library(torch::c10_cuda SHARED IMPORTED)
  set_target_properties(torch::c10_cuda PROPERTIES IMPORTED_LOCATION ${_torch_root}/lib/libc10_cuda.so)
  # Registrations run when the library is loaded; without --no-as-needed the linker would drop it.
  target_link_options(torch::cuda INTERFACE "-Wl,--no-as-needed,${_torch_root}/lib/libtorch_cuda.so,--as-needed")
  target_link_libraries(torch::cuda INTERFACE torch::cpu torch::c10_cuda)
  add_library(nccl::nccl SHARED IMPORTED)
  file(GLOB _nccl_include ${_site}/nvidia/nccl/include)
  set_target_properties(nccl::nccl PROPERTIES IMPORTED_LOCATION ${_nccl_library}
    INTERFACE_INCLUDE_DIRECTORIES "${_nccl_include};${_cuda_root}/include")
endif()
