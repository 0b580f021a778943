# libgradsmith_cuda: every .cu file, with a static CUDA runtime, as a library of its own that
# libgradsmith loads when a CUDA device is first asked for. Machines without a driver never notice.
#
# GRADSMITH_CUDA: AUTO builds it where nvcc is found, ON requires it, OFF does not.
# Kernels named *.sm90.cu use what only 9.0 has and are compiled for 90a alone, whatever the list.
# GRADSMITH_CUDA_ARCHITECTURES: as CMAKE_CUDA_ARCHITECTURES. Code for 8.0 runs on 8.6 and 8.9 as it
# is; from the virtual one at the end the driver compiles for devices newer than the list.
set(GRADSMITH_CUDA_ARCHITECTURES "80-real;90-real;80-virtual" CACHE STRING
    "Architectures of the CUDA backend")

set(GS_CUDA_FOUND OFF)
if(GRADSMITH_CUDA STREQUAL "ON")
  set(GS_CUDA_FOUND ON)
elseif(GRADSMITH_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(GS_CUDA_FOUND ON)
  else()
    message(STATUS "CUDA backend: not built (no working nvcc)")
  endif()
endif()

if(GS_CUDA_FOUND)
  set(CMAKE_CUDA_ARCHITECTURES ${GRADSMITH_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know that nvcc has it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  file(GLOB GS_CUDA_SOURCES CONFIGURE_DEPENDS runtime/*.cu kernels/*/*.cu)
  file(GLOB GS_CUDA_SOURCES_SM90 CONFIGURE_DEPENDS kernels/*/*.sm90.cu)
  list(REMOVE_ITEM GS_CUDA_SOURCES ${GS_CUDA_SOURCES_SM90})
  add_library(gs_cuda_sm90 OBJECT ${GS_CUDA_SOURCES_SM90})
  set_target_properties(gs_cuda_sm90 PROPERTIES
    CUDA_ARCHITECTURES 90a-real POSITION_INDEPENDENT_CODE ON)
  add_library(gradsmith_cuda SHARED ${GS_CUDA_SOURCES} $<TARGET_OBJECTS:gs_cuda_sm90>)
  set_target_properties(gradsmith_cuda PROPERTIES
    CUDA_RUNTIME_LIBRARY Static LINKER_LANGUAGE CUDA
    LIBRARY_OUTPUT_DIRECTORY $<TARGET_FILE_DIR:gradsmith>)
  foreach(target gradsmith_cuda gs_cuda_sm90)
    target_include_directories(${target} PRIVATE . include)
    set_target_properties(${target} PROPERTIES
      CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
    target_compile_options(${target} PRIVATE -Xcompiler=-Wall,-Wextra,-Wno-array-bounds
                           $<$<BOOL:${GRADSMITH_WERROR}>:-Werror=all-warnings>)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
      target_compile_options(${target} PRIVATE --compress-mode=size)
    endif()
  endforeach()
  # cudart's own symbols stay inside: another copy of it (torch's) may live in the same process.
  target_link_options(gradsmith_cuda PRIVATE LINKER:--exclude-libs,ALL LINKER:-s)
  install(TARGETS gradsmith_cuda LIBRARY DESTINATION lib COMPONENT gradsmith)
  message(STATUS "CUDA backend: ${CMAKE_CUDA_COMPILER_VERSION} for ${GRADSMITH_CUDA_ARCHITECTURES}")
endif()
