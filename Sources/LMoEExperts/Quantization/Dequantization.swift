import LMoECore
public import LMoEFormat

/// What stands in for quantized tensors in files that cannot hold them: their values as floats.
public struct Dequantization: Sendable {
  /// The type of all floats.
  public let dtype: DType

  /// Decodes to F32, F16 or BF16; nil for others.
  public init?(_ dtype: DType) {
    guard FloatCast(dtype) != nil else { return nil }
    self.dtype = dtype
  }

  /// A tensor of floats or blocks under that name as floats; nil for one that holds neither.
  func entry(_ name: String, _ stored: Entry, in bundle: Bundle) -> NewEntry? {
    guard let source = CastSource(bundle.source(of: stored), stored.type, as: dtype),
      let type = TensorType(dtype: dtype, shape: stored.type.shape.map { UInt64($0) })
    else { return nil }
    return NewEntry(tensor: name, type: type, source: source)
  }

  /// The transpose of a matrix, under another name.
  func transposed(_ name: String, _ stored: Entry, in bundle: Bundle) -> NewEntry? {
    guard stored.type.shape.count == 2, FloatValues(stored.type) != nil, let cast = FloatCast(dtype),
      let type = TensorType(dtype: dtype, shape: stored.type.shape.reversed().map { UInt64($0) })
    else { return nil }
    return NewEntry(
      tensor: name, type: type,
      source: TransposedSource(input: bundle.source(of: stored), type: stored.type, cast: cast))
  }

  /// A checkpoint's configuration for the floats that it has now; the bytes themselves if it is none.
  func configuration(_ bytes: [UInt8]) -> [UInt8] {
    guard let json = try? JSON(parsing: bytes), var object = json.object else { return bytes }
    let name: JSON =
      switch dtype {
      case .bf16: "bfloat16"
      case .f16: "float16"
      default: "float32"
      }
    for key in ["dtype", "torch_dtype"] where object[key] != nil { object[key] = name }
    object["quantization_config"] = nil
    return Array(JSON.object(object).serialized(pretty: true).utf8)
  }

  /// The index of a checkpoint in several files, for that many bytes of tensors.
  func index(_ bytes: [UInt8], totalBytes: Int) -> [UInt8] {
    guard let json = try? JSON(parsing: bytes), var object = json.object,
      var metadata = object["metadata"]?.object, metadata["total_size"] != nil
    else { return bytes }
    metadata["total_size"] = .integer(totalBytes)
    object["metadata"] = .object(metadata)
    return Array(JSON.object(object).serialized(pretty: true).utf8)
  }
}

/// The transpose of a matrix that fits into memory.
private struct TransposedSource: ByteSource {
  let input: any ByteSource
  let type: TensorType
  let cast: FloatCast

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let values = try input.floats(type)
    let result = transposed(values, rows: type.shape[0], columns: type.shape[1])
    unsafe result.withUnsafeBufferPointer { floats in
      unsafe cast.write(floats, to: buffer, skipping: Int(offset))
    }
  }
}
