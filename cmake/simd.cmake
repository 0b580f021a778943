# One object library per ISA over the same *.simd.cpp; csrc/CMakeLists.txt calls this for each of
# GS_ISAS. The rules that keep this safe are in csrc/kernels/README.md; cmake/check_isa_objects.py
# checks the objects for weak symbols. Which targets exist is known to registry.cpp alone: another
# choice recompiles that file only.
# avx512_bf16 is avx512 with the few rows of kernels/bf16_rows.inc.
function(gs_add_isa isa)
  set(sources ${GS_SIMD_SOURCES})
  if(isa STREQUAL avx512_bf16)
    set(sources kernels/gemm/bf16.simd.cpp kernels/gemm/finish.simd.cpp
        kernels/peak/peak.simd.cpp)
  endif()
  add_library(gs_simd_${isa} OBJECT ${sources})
  target_link_libraries(gs_simd_${isa} PRIVATE gs_flags)
  target_compile_definitions(gs_simd_${isa} PRIVATE GS_ISA=${isa} GS_ISA_IS_${isa})
  if(isa STREQUAL avx512_bf16)
    target_compile_definitions(gs_simd_${isa} PRIVATE GS_ISA_IS_avx512)
  endif()
  if(isa IN_LIST GRADSMITH_EMULATE_ISAS)
    target_compile_definitions(gs_simd_${isa} PRIVATE GS_EMULATED)
    # Emulated intrinsics are thousands of inline functions: full optimisation takes minutes a file.
    target_compile_options(gs_simd_${isa} PRIVATE -O1)
    set_property(SOURCE kernels/registry.cpp APPEND PROPERTY
                 COMPILE_DEFINITIONS GS_EMULATED_${isa})
  else()
    target_compile_options(gs_simd_${isa} PRIVATE ${ARGN})
  endif()
  target_sources(gradsmith PRIVATE $<TARGET_OBJECTS:gs_simd_${isa}>)
  set_property(SOURCE kernels/registry.cpp APPEND PROPERTY COMPILE_DEFINITIONS GS_HAVE_${isa})
endfunction()

if(GRADSMITH_ISAS STREQUAL AUTO)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    set(GS_ISAS scalar avx2 avx512 avx512_bf16)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
    set(GS_ISAS scalar neon)
  else()
    set(GS_ISAS scalar)
  endif()
else()
  set(GS_ISAS ${GRADSMITH_ISAS})
endif()
list(APPEND GS_ISAS ${GRADSMITH_EMULATE_ISAS})
list(REMOVE_DUPLICATES GS_ISAS)

set(GS_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(GS_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
    -mprefer-vector-width=512)
set(GS_FLAGS_avx512_bf16 ${GS_FLAGS_avx512} -mavx512bf16)
