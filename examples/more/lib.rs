//! Examples that need larger crates, of images and of servers. They stand apart so that the others build without them.
