public import LMoECore
import LMoEFormat

extension PEFTAdapter {
  /// Opens an adapter of any format that is known: PEFT's directory, mlx-lm's directory, or a GGUF file.
  ///
  /// One of another format is made over in memory; its own configuration goes along as a file.
  ///
  /// - Parameters:
  ///   - path: The directory or file.
  ///   - model: The model of the base, which a GGUF file does not tell; asked for only if needed.
  /// - Throws: `ExpertError` that names what is not supported or does not hold together; `FormatError`;
  ///   `FileError`.
  public init(
    opening path: String, on model: () throws -> ModelConfiguration,
    in system: any FileSystem = PosixFileSystem()
  ) throws {
    if GGUFFile.isGGUF(path, in: system) {
      self = try GGUFAdapter.conversion(try GGUFFile(path: path, in: system), model: model()).adapter()
      return
    }
    if let mlx = try MLXAdapter.conversion(path, in: system) {
      self = try mlx.adapter()
      return
    }
    try MixtureDirectories.refuse(path, in: system)
    try self.init(path: path, in: system)
  }
}
