public import LMoECore

/// An open safetensors file.
public final class SafetensorsFile: Sendable {
  /// Its path.
  public let path: String
  /// The length word and the JSON text, verbatim: everything before the tensors' bytes.
  public let head: [UInt8]
  /// What the head says.
  public let header: SafetensorsHeader
  private let file: any File

  /// Opens and checks the file at `path`.
  ///
  /// - Throws: `safetensors-invalid` or `io`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws(FormatError) {
    self.path = path
    let file = try io { () throws(FileError) in try system.open(path, .read) }
    self.file = file
    do throws(FormatError) {
      let size = try io { () throws(FileError) in try file.size() }
      guard size >= 8 else {
        throw FormatError(.safetensorsInvalid, field: "only \(size) bytes")
      }
      let length = Fields(try io { () throws(FileError) in try file.bytes(at: 0, count: 8) }).u64(0)
      guard length <= SafetensorsHeader.maximumBytes else {
        throw FormatError(
          .safetensorsInvalid, field: "header length", expected: "at most \(SafetensorsHeader.maximumBytes)",
          found: "\(length)")
      }
      guard length <= size - 8 else {
        throw FormatError(
          .safetensorsInvalid, field: "the file is truncated", expected: "a header of \(length) bytes",
          found: "\(size - 8)")
      }
      let head = try io { () throws(FileError) in try file.bytes(at: 0, count: 8 + Int(length)) }
      self.head = head
      header = try SafetensorsHeader(json: Array(head[8...]), fileBytes: size)
    } catch {
      throw error.at(path: path)
    }
  }

  /// The tensors in the order of their bytes.
  public var tensors: [SafetensorsTensor] { header.tensors }

  /// The raw bytes of a tensor.
  public func source(of tensor: SafetensorsTensor) -> any ByteSource {
    FileSource(file, at: tensor.offset)
  }
}
