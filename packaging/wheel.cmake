# The Python wheel's program and shared library: docs/packaging.md.
#   cmake --build BUILD --target voxpop_wheel && cmake --install BUILD --component wheel --prefix FOLDER
# They are the objects that are compiled anyway, linked once more: without MPI, without CUDA unless VOXPOP_WHEEL_CUDA, and
# with static libraries and an older glibc where scripts/wheel_dependencies.sh has put these.
set(VOXPOP_WHEEL_DEPENDENCIES "" CACHE PATH "Folder of scripts/wheel_dependencies.sh; empty: the wheel links what the program does")
option(VOXPOP_WHEEL_CUDA "The wheel has the CUDA engine, where that is compiled" OFF)

set(objects ${VOXPOP_OBJECTS})
set(more "")  # compiled for the wheel alone
if(MPI_C_FOUND)
  list(FILTER objects EXCLUDE REGEX "voxpop_ranks_folder")
  list(APPEND more src/ranks/ranks_absent.cc)
endif()
if(TARGET voxpop_cuda AND NOT VOXPOP_WHEEL_CUDA)
  list(FILTER objects EXCLUDE REGEX "voxpop_cuda")
  list(APPEND more src/fit/cuda_absent.cc)
endif()
if(TARGET voxpop_isal AND VOXPOP_WHEEL_DEPENDENCIES)  # Debian has no static ISA-L
  list(FILTER objects EXCLUDE REGEX "voxpop_isal")
  list(APPEND more src/hdf5/isal_absent.cc)
endif()
if(EXISTS ${VOXPOP_WHEEL_DEPENDENCIES}/sysroot)
  list(APPEND more packaging/older_glibc.c)
endif()
if(more)
  add_library(voxpop_wheel_objects OBJECT EXCLUDE_FROM_ALL ${more})
  target_link_libraries(voxpop_wheel_objects PRIVATE voxpop_dependencies)
  list(APPEND objects $<TARGET_OBJECTS:voxpop_wheel_objects>)
endif()

add_library(voxpop_wheel_link INTERFACE)
if(VOXPOP_WHEEL_DEPENDENCIES)
  set(libraries "")
  foreach(name hdf5 tbb fmt simdjson xxhash deflate utf8proc z)
    list(APPEND libraries ${VOXPOP_WHEEL_DEPENDENCIES}/lib/lib${name}.a)
  endforeach()
  # Of libcsv's licence, the LGPL: it stays a shared library of its own, which whoever has the wheel can replace.
  target_link_libraries(voxpop_wheel_link INTERFACE ${libraries} ${VOXPOP_WHEEL_DEPENDENCIES}/lib/libcsv.so pthread dl rt m)
  target_link_options(voxpop_wheel_link INTERFACE -static-libstdc++ -Wl,--gc-sections -Wl,--as-needed -Wl,--exclude-libs,ALL -s)
  if(EXISTS ${VOXPOP_WHEEL_DEPENDENCIES}/sysroot)
    file(GLOB folder ${VOXPOP_WHEEL_DEPENDENCIES}/sysroot/usr/lib/*/libc.so)
    cmake_path(GET folder PARENT_PATH folder)
    # -B: before the files of this system that start a program.
    target_link_options(voxpop_wheel_link INTERFACE --sysroot=${VOXPOP_WHEEL_DEPENDENCIES}/sysroot -B${folder} -L${folder}
                        -Wl,--allow-shlib-undefined -Wl,--wrap=exp -Wl,--wrap=log -Wl,--wrap=pow)
  endif()
  if(VOXPOP_WHEEL_CUDA AND TARGET voxpop_cuda)
    target_link_libraries(voxpop_wheel_link INTERFACE CUDA::cudart_static)
  endif()
else()
  target_link_libraries(voxpop_wheel_link INTERFACE voxpop_dependencies)
endif()

add_executable(voxpop_wheel ${objects} $<TARGET_OBJECTS:voxpop>)
set_target_properties(voxpop_wheel PROPERTIES OUTPUT_NAME voxpop LINKER_LANGUAGE CXX RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/wheel)
target_link_libraries(voxpop_wheel PRIVATE voxpop_wheel_link)
install(TARGETS voxpop_wheel RUNTIME DESTINATION voxpop/bin COMPONENT wheel EXCLUDE_FROM_ALL)
set(targets voxpop_wheel)

if(TARGET voxpop_shared)
  add_library(voxpop_wheel_library SHARED ${objects} $<TARGET_OBJECTS:voxpop_shared>)
  set_target_properties(voxpop_wheel_library PROPERTIES OUTPUT_NAME voxpop LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/wheel)
  target_link_libraries(voxpop_wheel_library PRIVATE voxpop_wheel_link)
  # Its version script, if it has one, and that nothing may be missing.
  target_link_options(voxpop_wheel_library PRIVATE $<TARGET_PROPERTY:voxpop_shared,LINK_OPTIONS> -Wl,-z,defs)
  add_dependencies(voxpop_wheel voxpop_wheel_library)
  install(TARGETS voxpop_wheel_library LIBRARY DESTINATION voxpop/lib COMPONENT wheel EXCLUDE_FROM_ALL)
  list(APPEND targets voxpop_wheel_library)
endif()
# Beside other builds only where the wheel's libraries are there; by name always.
if(NOT VOXPOP_WHEEL_DEPENDENCIES)
  set_target_properties(${targets} PROPERTIES EXCLUDE_FROM_ALL TRUE)
else()
  set(metadata voxpop-${PROJECT_VERSION}.dist-info)
  if(SKBUILD)
    set(metadata ${SKBUILD_METADATA_DIR})
  endif()
  install(DIRECTORY ${VOXPOP_WHEEL_DEPENDENCIES}/licenses/ DESTINATION ${metadata}/licenses COMPONENT wheel EXCLUDE_FROM_ALL)
endif()
