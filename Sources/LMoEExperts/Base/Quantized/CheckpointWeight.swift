import LMoECore
import LMoEFormat

/// A tensor of a checkpoint as a bank has it: one of a file, or blocks put together of several.
struct CheckpointWeight: Sendable {
  let name: String
  let type: TensorType
  let source: any ByteSource
}

extension HFCheckpoint {
  /// How its weights were quantized before they came here; nil for floats.
  ///
  /// - Throws: `ExpertError` with `quantized-model` for a way that this tool does not read.
  func quantizationMethod() throws -> QuantizationMethod? {
    guard let json = configuration["quantization_config"], json.object != nil else { return nil }
    return try QuantizationMethod(json, path: path + "/config.json")
  }

  /// The tensors as a bank has them.
  ///
  /// - Throws: `ExpertError` with `quantized-model` or `invalid-factor`, `FormatError`.
  func weights() throws -> [CheckpointWeight] {
    let plain = tensors.map { tensor, file in
      CheckpointWeight(name: tensor.name, type: tensor.type, source: file.source(of: tensor))
    }
    guard let method = try quantizationMethod() else { return plain }
    var assembly = WeightAssembly(plain, method, path: path)
    let model = try? ModelConfiguration.parse(configuration, path: path).model
    return try assembly.weights(expected: model.map { Set($0.tensors.map { ByteKey($0.name) }) })
  }
}

/// How the weights of a checkpoint were quantized, as its configuration has it.
enum QuantizationMethod: Sendable {
  /// bitsandbytes' NF4 with double quantization.
  case nf4
  /// GPTQ's tensors of four bits: `isOffByOne` says that zeros are stored less one.
  case gptq(group: Int, isOffByOne: Bool)
  /// AWQ's.
  case awq(group: Int)

  /// Reads `quantization_config`.
  ///
  /// - Throws: `ExpertError` with `quantized-model` that says what is not read.
  init(_ json: JSON, path: String) throws {
    func refused(_ what: String) -> ExpertError { ExpertError(.quantizedModel, path: path, found: what) }
    let method = json["quant_method"]?.string ?? "no quant_method"
    switch method {
    case "bitsandbytes":
      guard json["load_in_4bit"]?.bool == true || json["_load_in_4bit"]?.bool == true else {
        throw refused("bitsandbytes in 8 bits")
      }
      let type = json["bnb_4bit_quant_type"]?.string ?? "fp4"
      guard type == "nf4" else { throw refused("bitsandbytes \(type)") }
      guard json["bnb_4bit_use_double_quant"]?.bool == true else {
        throw refused("bitsandbytes nf4 without double quantization")
      }
      self = .nf4
    case "gptq", "awq":
      guard json["bits"]?.int ?? json["w_bit"]?.int == 4 else {
        throw refused("\(method) with other than 4 bits")
      }
      guard let group = json["group_size"]?.int ?? json["q_group_size"]?.int, [32, 64, 128].contains(group)
      else {
        throw refused("\(method) with groups of other than 32, 64 or 128")
      }
      if method == "awq" {
        let version = json["version"]?.string?.lowercased() ?? "gemm"
        guard version == "gemm" else { throw refused("awq in the form \(version)") }
        self = .awq(group: group)
      } else {
        self = .gptq(group: group, isOffByOne: json["checkpoint_format"]?.string != "gptq_v2")
      }
    default: throw refused(method)
    }
  }

  /// What a card calls it.
  var title: String {
    switch self {
    case .nf4: "bitsandbytes"
    case .gptq: "gptq"
    case .awq: "awq"
    }
  }

  /// The blocks that its tensors become.
  var type: QuantizedType {
    switch self {
    case .nf4: .nf4
    case .gptq(32, _), .awq(32): .i4Group32
    case .gptq(64, _), .awq(64): .i4Group64
    default: .i4Group128
    }
  }
}
