# Kernels with a bug planted in each, which the emulator has to find: GS_PLANT(FILE FUNCTION NUMBER
# TEXT BUG) compiles FILE with TEXT, which must occur once, replaced by BUG. FUNCTION gets the suffix
# _planted_NUMBER. Number 0 is the kernel as it is.
set(GS_PLANTED_SOURCES "")
set(GS_PLANTED_DIR ${CMAKE_CURRENT_BINARY_DIR}/planted)

function(gs_plant file function source number text bug)
  set(folder ${GS_PLANTED_DIR}/${function}_${number})
  set(original ${PROJECT_SOURCE_DIR}/csrc/${file})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${original})
  file(READ ${original} content)
  string(FIND "${content}" "${text}" first)
  string(FIND "${content}" "${text}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "planted bug ${number} of ${function}: '${text}' must occur once in ${file}")
  endif()
  string(REPLACE "${text}" "${bug}" content "${content}")
  file(CONFIGURE OUTPUT ${folder}/${file} CONTENT "${content}" @ONLY)
  # The planted header or source comes before the real one.
  file(CONFIGURE OUTPUT ${folder}/${function}.cpp CONTENT "#include \"${source}\"\n" @ONLY)
  set_source_files_properties(${folder}/${function}.cpp PROPERTIES
    COMPILE_DEFINITIONS "${function}=${function}_planted_${number}"
    INCLUDE_DIRECTORIES ${folder}
    OBJECT_DEPENDS "${folder}/${file}")
  set(GS_PLANTED_SOURCES ${GS_PLANTED_SOURCES} ${folder}/${function}.cpp PARENT_SCOPE)
endfunction()

macro(gs_plant_wgmma number text bug)
  gs_plant(kernels/gemm/wgmma.sm90.cu gemm_wgmma kernels/gemm/wgmma.sm90.cu ${number} "${text}" "${bug}")
endmacro()
gs_plant_wgmma(0 "barrier_wait(&s.full" "barrier_wait(&s.full")
gs_plant_wgmma(1 "barrier_wait(&s.full[ring.slot], ring.parity)" "(void)0")  # read before it arrives
gs_plant_wgmma(2 "barrier_wait(&s.empty[ring.slot], ring.parity ^ 1)" "(void)0")  # overwritten
gs_plant_wgmma(3 "ring.parity ^ 1)" "ring.parity)")  # the wrong phase
gs_plant_wgmma(4 "parity ^= 1" "(void)0")  # the phase of the first round for ever
gs_plant_wgmma(5 "products_wait<1>()" "products_wait<3>()")  # released while it is read
gs_plant_wgmma(6 "products_wait<0>()" "(void)0")  # sums read too early
gs_plant_wgmma(7 "kConsumers * 4 * kCluster" "kConsumers * 4")  # the other block's readers forgotten
gs_plant_wgmma(8 "if (lane < kCluster) barrier_arrive" "if (lane < 1) barrier_arrive")
gs_plant_wgmma(9 "kBytesOfSlot);\n      const" "kBytesOfSlot / 2);\n      const")
gs_plant_wgmma(10 "cluster_sync();\n  const int slices" "__syncthreads();\n  const int slices")
gs_plant_wgmma(11 "cluster_sync();  // a block stays" "//")
gs_plant_wgmma(12 "products_fence();" "")
gs_plant_wgmma(13 "__syncwarp();\n      finish_tile" "finish_tile")
gs_plant_wgmma(14 "column + piece * kPiece);\n      __syncwarp();" "column + piece * kPiece);")
gs_plant_wgmma(15 ": kStep * 2) >> 4;\n  constexpr int kBStep" ": kStep * 4) >> 4;\n  constexpr int kBStep")
gs_plant_wgmma(16 "(1u << kCluster) - 1" "1u")  # B for one block only
gs_plant_wgmma(17 "alignas(kTileAlign) Half16 b" "char off[16];\n  Half16 b")

macro(gs_plant_mma number text bug)
  gs_plant(kernels/gemm/mma.cuh gemm_bf16 kernels/gemm/mma_bf16.cu ${number} "${text}" "${bug}")
endmacro()
gs_plant_mma(0 "copy_async_wait<0>()" "copy_async_wait<0>()")
gs_plant_mma(1 "copy_async_wait<kStages - 2>();\n    __syncthreads();" "copy_async_wait<kStages - 2>();")
gs_plant_mma(2 "copy_async_wait<kStages - 2>()" "copy_async_wait<kStages - 1>()")
gs_plant_mma(3 "copy_slice(i + kStages - 1)" "copy_slice(i + kStages)")
gs_plant_mma(4 "__syncthreads();  // the slots are free" "")
gs_plant_mma(5 "__syncwarp();" "")
gs_plant_mma(6 "count * int(sizeof(Element))" "16")  # reads past the end of a row
