# The CUDA half of TorchWheel.cmake: libraries of the wheels, nvcc and headers of the toolkit. OFF looks for neither.
set(NABLA_WITH_CUDA OFF)
if(NABLA_CUDA STREQUAL "AUTO" OR NABLA_CUDA)
  find_program(NABLA_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  file(GLOB _nccl_library ${_site}/nvidia/nccl/lib/libnccl.so.2)
  file(GLOB _cudart_library ${_site}/nvidia/*/lib/libcudart.so.*)
  set(_full_set OFF)
  if(EXISTS ${_torch_root}/lib/libtorch_cuda.so AND _nccl_library AND _cudart_library)
    set(_full_set ON)
  endif()
  if(EXISTS "${NABLA_NVCC}" AND _full_set)
    set(NABLA_WITH_CUDA ON)
  elseif(NOT NABLA_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "[cuda] NABLA_CUDA=${NABLA_CUDA} needs nvcc (found: '${NABLA_NVCC}') and the full torch wheel set with NCCL "
                        "(found: ${_full_set}). Run launch/setup.sh --cuda, or configure with NABLA_CUDA=OFF.")
  endif()
endif()
message(STATUS "CUDA: ${NABLA_WITH_CUDA} (NABLA_CUDA=${NABLA_CUDA})")
if(NOT NABLA_WITH_CUDA)
  return()
endif()

set(CMAKE_CUDA_COMPILER ${NABLA_NVCC})
set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
# One CUDA runtime in the process: the wheel's, which libtorch loads anyway.
set(CMAKE_CUDA_RUNTIME_LIBRARY None)
enable_language(CUDA)
# CMake 3.25.1 does not know yet how to ask nvcc for C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(_cuda_include ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
list(GET _cudart_library 0 _cudart_library)
list(GET _nccl_library 0 _nccl_library)

add_library(torch::cudart SHARED IMPORTED)
set_target_properties(torch::cudart PROPERTIES
  IMPORTED_LOCATION ${_cudart_library} INTERFACE_INCLUDE_DIRECTORIES "${_cuda_include}")
add_library(torch::c10_cuda SHARED IMPORTED)
set_target_properties(torch::c10_cuda PROPERTIES IMPORTED_LOCATION ${_torch_root}/lib/libc10_cuda.so)
# Registrations run when the library is loaded; without --no-as-needed the linker would drop it.
add_library(torch::cuda INTERFACE IMPORTED)
target_link_options(torch::cuda INTERFACE "-Wl,--no-as-needed,${_torch_root}/lib/libtorch_cuda.so,--as-needed")
target_link_libraries(torch::cuda INTERFACE torch::cpu torch::c10_cuda torch::cudart)

get_filename_component(_nccl_root ${_nccl_library}/../.. ABSOLUTE)
add_library(nccl::nccl SHARED IMPORTED)
set_target_properties(nccl::nccl PROPERTIES IMPORTED_LOCATION ${_nccl_library} INTERFACE_INCLUDE_DIRECTORIES ${_nccl_root}/include)
target_link_libraries(nccl::nccl INTERFACE torch::cudart)
