# Flags that every target of ours shares. Same flags on all sharers of a precompiled header, or it is silently unused.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(NABLA_CCACHE ccache)
if(NABLA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${NABLA_CCACHE})
endif()

add_library(project_options INTERFACE)
target_include_directories(project_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(project_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Werror;-Winvalid-pch>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;-Werror=all-warnings>")
# In a unity build g++ takes every source for a header, where a class with a member of an unnamed namespace would be a fault.
if(CMAKE_UNITY_BUILD)
  target_compile_options(project_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(NABLA_FAILPOINTS)
  target_compile_definitions(project_options INTERFACE NABLA_FAILPOINTS)
endif()
find_program(NABLA_MOLD mold)
if(NABLA_MOLD)
  target_link_options(project_options INTERFACE -fuse-ld=mold)
endif()

# nabla_precompile(<target> <headers...>): a narrow precompiled header where USE_PCH is on.
function(nabla_precompile target)
  if(USE_PCH)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()
